"""Records of a file: what each holds, by column, and the line it starts on; one reader per format."""

import csv
import json
import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetune.data.loading import parquet_rows, text_lines
from edgetune.data.wording import kind, place, quoted
from edgetune.errors import DataError

ONE_OBJECT_PER_LINE = (
    'Write one object per line, such as {"text": "…", "label": "…"}; in a .json file also one list of them'
)


@dataclass(frozen=True)
class Record:
    """One record of a file, as it is written there."""

    path: Path
    """The file, as the user named it."""
    line: int
    """The line on which the record starts, from 1; in Parquet the row's number."""
    cells: dict[str, Any]
    """Values by the file's own column names."""

    @property
    def where(self) -> str:
        """`train.jsonl:17`."""
        return place(self.path, self.line)


def read_records(path: Path) -> list[Record]:
    """All records of a file, at least one.

    Raises DataError when the file is not there, cannot be read, is of no known format or holds no record.
    """
    _check_readable(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(READERS)
        raise DataError(f"{path}: unknown suffix {quoted(path.suffix)}. edgetune reads {known}")
    records = reader(path)
    if not records:
        raise DataError(f"{path}: the file has no rows")
    return records


def _check_readable(path: Path) -> None:
    try:
        if path.is_dir():
            raise DataError(f"{path}: a folder, not a file. Name one file in it")
        with path.open("rb") as file:
            if file.read(4) in (b"", BOM_UTF8):
                raise DataError(f"{path}: the file is empty")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"no such file: {path.absolute()}") from error
    except PermissionError as error:
        raise DataError(f"{path}: no permission to read the file") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be opened: {error.strerror or error}") from error


def _json_lines(path: Path) -> list[Record]:
    lines = text_lines(path)
    return [json_record(path, number, line) for number, line in enumerate(lines, start=1) if not line.isspace()]


def json_record(path: Path, number: int, line: str) -> Record:
    """Of a line of JSON; raises DataError, with its number, where that is no object."""
    with _json_errors(path, number):
        return _object_record(path, number, json.loads(line.rstrip("\n")))


def _json_lines_or_list(path: Path) -> list[Record]:
    """A `.json` file holds either one object per line or one list of objects."""
    lines = text_lines(path)
    first = next((line for line in lines if not line.isspace()), "")
    if not first.lstrip().startswith("["):
        return _json_lines(path)
    text = "".join(lines)
    with _json_errors(path, 1):
        json.loads(text)  # finds what is wrong with the file as a whole; below it is known to be right
        return [_object_record(path, line, value) for line, value in _list_elements(text)]


def _list_elements(text: str) -> Iterator[tuple[int, Any]]:
    """The elements of a valid JSON list, each with the line on which it starts."""
    decoder, between = json.JSONDecoder(), re.compile(r"[\s,]*")
    line, counted, end = 1, 0, text.index("[") + 1
    while True:
        start = between.match(text, end).end()  # type: ignore[union-attr]  # the pattern matches the empty string
        if text[start] == "]":
            return
        line, counted = line + text.count("\n", counted, start), start
        value, end = decoder.raw_decode(text, start)
        yield line, value


def _object_record(path: Path, line: int, value: object) -> Record:
    if not isinstance(value, dict):
        raise DataError(f"{place(path, line)}: {kind(value)}, not an object. {ONE_OBJECT_PER_LINE}")
    return Record(path, line, value)


@contextmanager
def _json_errors(path: Path, first_line: int) -> Iterator[None]:
    try:
        yield
    except json.JSONDecodeError as error:
        where = place(path, first_line + error.lineno - 1)
        raise DataError(f"{where}: not JSON: {error.msg} (column {error.colno}). {ONE_OBJECT_PER_LINE}") from error
    except DataError:
        raise
    except (RecursionError, ValueError) as error:  # nested too deeply; a number of more than 4,300 digits
        raise DataError(f"{place(path, first_line)}: cannot be read as JSON: {error}") from error


def _comma_separated(path: Path) -> list[Record]:
    return _separated(path, ",")


def _tab_separated(path: Path) -> list[Record]:
    return _separated(path, "\t")


def _separated(path: Path, delimiter: str) -> list[Record]:
    """Every cell stays the string it is: `NA`, `null` and `01` too."""
    rows = _numbered_cells(path, text_lines(path), delimiter)
    line, header = rows[0] if rows else (1, [])
    if twice := next((name for name in header if header.count(name) > 1), None):
        raise DataError(f"{place(path, line)}: two columns are named {quoted(twice)}. Rename one")
    return [_header_record(path, number, header, cells) for number, cells in rows[1:]]


def _header_record(path: Path, line: int, header: list[str], cells: list[str]) -> Record:
    if len(cells) != len(header):
        raise DataError(
            f"{place(path, line)}: {len(cells)} cells under a header of {len(header)}. "
            "Put quotes around a cell that holds a separator, a quote or a line break"
        )
    return Record(path, line, dict(zip(header, cells, strict=True)))


def _numbered_cells(path: Path, lines: list[str], delimiter: str) -> list[tuple[int, list[str]]]:
    """The cells of each record and the line on which it starts; blank lines are no records."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    rows, start = [], 1
    usual_limit = csv.field_size_limit(2**31 - 1)  # the default refuses a cell of more than 131,072 characters
    try:
        for cells in reader:
            if len(cells) > 1 or "".join(cells).strip():
                rows.append((start, cells))
            start = reader.line_num + 1
    except csv.Error as error:
        what = "a quote is never closed" if "unexpected end" in str(error) else str(error)
        raise DataError(f"{place(path, start)}: {what}. Inside a quoted cell a quote is written twice") from error
    finally:
        csv.field_size_limit(usual_limit)
    return rows


def _parquet(path: Path) -> list[Record]:
    return [Record(path, number, cells) for number, cells in enumerate(parquet_rows(path), start=1)]


READERS = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json_lines_or_list,
    ".csv": _comma_separated,
    ".tsv": _tab_separated,
    ".parquet": _parquet,
}
"""One reader per suffix."""
