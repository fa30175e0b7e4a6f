"""Files read through Hugging Face `datasets`, offline and silent; nothing stays in its cache, so nothing is stale.

`datasets` reads text line by line, and `edgetune.data.records` makes sense of the lines. Its JSON and CSV readers give
every column one type and so change what is written (measured with 5.2: in JSON the label `"1"` beside `1` became a
number and `"2020-01-01"` a datetime, in CSV `01` became 1 and `NA` null), and they forget on which line a row was.
"""

import glob
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgetune.data.locate import foreign_opening, undecodable_byte
from edgetune.data.wording import place
from edgetune.errors import DataError

BATCH_ROWS = 1000
"""`datasets` otherwise takes the size of the first row group, and fails where that is empty."""


def text_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file, each ending in `\\n` whatever it ended in there; a byte order mark is left out."""
    with path.open("rb") as file:
        foreign = foreign_opening(file.read(4))
    if foreign:
        raise DataError(f"{path}: the file {foreign}")
    with silent_datasets(path), cache_folder() as cache_dir:
        from datasets import Dataset

        dataset = Dataset.from_text(
            glob.escape(str(path)),
            cache_dir=cache_dir,
            keep_in_memory=True,
            keep_linebreaks=True,
            encoding="utf-8-sig",
        )
        return dataset[:]["text"]


def parquet_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a Parquet file; a label that `datasets` stored as a class number comes back as the class's name."""
    with silent_datasets(path), cache_folder() as cache_dir:
        from datasets import Dataset
        from pyarrow.parquet import read_metadata

        if not read_metadata(path).num_rows:  # `datasets` fails on none
            return []
        dataset = Dataset.from_parquet(
            glob.escape(str(path)),
            cache_dir=cache_dir,
            keep_in_memory=True,
            batch_size=BATCH_ROWS,
        )
        classes = class_names(dataset.features)
        return [named_classes(row, classes, path, number) for number, row in enumerate(dataset.to_list(), start=1)]


def class_names(features: Mapping[str, Any]) -> dict[str, list[str]]:
    """Of the columns that hold class numbers, or lists of them (the tags of a row's words), the classes' names."""
    from datasets import ClassLabel

    found = {name: getattr(feature, "feature", feature) for name, feature in features.items()}
    return {name: feature.names for name, feature in found.items() if isinstance(feature, ClassLabel)}


def named_classes(row: dict[str, Any], classes: Mapping[str, list[str]], path: Path, number: int) -> dict[str, Any]:
    """The row with the names of its classes; raises DataError, with the row's number, for one that has none."""
    where = place(path, number)
    for column, names in classes.items():
        value = row[column]
        if isinstance(value, list):
            row[column] = [_class_name(names, tag, where) for tag in value]
        else:
            row[column] = _class_name(names, value, where)
    return row


def _class_name(names: list[str], number: int | None, where: str) -> str | None:
    """The class's name; `datasets` writes -1 where a row has none."""
    if number is None or number == -1:
        return None
    if not 0 <= number < len(names):
        raise DataError(f"{where}: class {number}, but the file names {len(names)} classes")
    return names[number]


def cache_folder() -> tempfile.TemporaryDirectory[str]:
    """For one reading."""
    return tempfile.TemporaryDirectory(prefix="edgetune-data-", ignore_cleanup_errors=True)


@contextmanager
def silent_datasets(path: Path) -> Iterator[None]:
    """Whatever `datasets` raises within becomes a DataError that names the file."""
    import datasets
    from datasets.exceptions import DatasetsError
    from pyarrow import ArrowException

    showed_bars = not datasets.are_progress_bars_disabled()
    verbosity = datasets.logging.get_verbosity()
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    try:
        yield
    except DataError:
        raise
    except (DatasetsError, ArrowException, OSError, ValueError) as error:
        reason = error.__cause__ or error
        if isinstance(reason, UnicodeDecodeError):
            raise DataError(undecodable_byte(path)) from error
        first_line = (str(reason).splitlines() or [type(reason).__name__])[0]
        raise DataError(f"{path}: datasets cannot read the file: {first_line}") from error
    finally:
        datasets.logging.set_verbosity(verbosity)
        if showed_bars:
            datasets.enable_progress_bars()
