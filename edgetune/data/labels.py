"""Labels: their names in a fixed order, and each row's place in it."""

from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path

from edgetune.data.rows import LabelledText, TaggedWords
from edgetune.data.wording import guess, place, quoted, quoted_list
from edgetune.errors import DataError


def label_names(rows: Iterable[LabelledText], path: str | PathLike[str]) -> list[str]:
    """The distinct labels of the file at `path`, at least two, sorted by code point: equal data gives equal ids.

    Raises DataError where the rows leave nothing to tell apart.
    """
    names = sorted({row.label for row in rows})
    if len(names) < 2:
        only = f"only the label {quoted(names[0])}" if names else "no label"
        raise DataError(f"{path} has {only}; to classify takes at least two. Add rows of another label")
    return names


def label_ids(rows: Iterable[LabelledText], names: Sequence[str], path: str | PathLike[str]) -> list[int]:
    """Each row's index into `names`; `path` is the file that the rows came from.

    Raises DataError at the first row whose label is not among them.
    """
    ids = {name: index for index, name in enumerate(names)}

    def label_id(row: LabelledText) -> int:
        if row.label in ids:
            return ids[row.label]
        raise unknown("label", row.label, names, place(Path(path), row.line))

    return [label_id(row) for row in rows]


def tag_names(rows: Iterable[TaggedWords], path: str | PathLike[str]) -> list[str]:
    """The distinct tags of the file at `path`, at least two, sorted by code point.

    Raises DataError where the rows leave nothing to tell apart.
    """
    names = sorted({tag for row in rows for tag in row.tags})
    if len(names) < 2:
        raise DataError(f"{path} has only the tag {quoted(names[0])}; to tag takes at least two. Add rows with others")
    return names


def tag_ids(rows: Iterable[TaggedWords], names: Sequence[str], path: str | PathLike[str]) -> list[tuple[int, ...]]:
    """Of each row its tags' indices into `names`; raises DataError at the first tag that is not among them."""
    ids = {name: index for index, name in enumerate(names)}
    for row in rows:
        for tag in row.tags:
            if tag not in ids:
                raise unknown("tag", tag, names, place(Path(path), row.line))
    return [tuple(ids[tag] for tag in row.tags) for row in rows]


def unknown(what: str, name: str, names: Sequence[str], where: str) -> DataError:
    return DataError(
        f"{where}: the {what} {quoted(name)} is not among the {len(names)} known"
        f"{guess(name, names)}: {quoted_list(names)}. Correct it, or train with rows of that {what}"
    )
