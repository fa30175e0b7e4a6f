"""Where in a file a failure lies, found by a second look at its bytes once reading has failed."""

import gzip
from collections.abc import Iterator
from pathlib import Path

from edgetune.data.wording import place

FOREIGN_OPENINGS = {
    b"\x1f\x8b": "is packed with gzip. Unpack it first",
    b"PK\x03\x04": "is a zip archive or a spreadsheet. Unpack it, or save the sheet as CSV",
    b"PAR1": "is a Parquet file. Name it .parquet",
    b"\xff\xfe": "is UTF-16. Save it as UTF-8",
    b"\xfe\xff": "is UTF-16. Save it as UTF-8",
}
"""First bytes that no text file of ours has, and what to do about them."""


def foreign_opening(opening: bytes) -> str | None:
    """What the file is instead of UTF-8 text, by its first bytes."""
    return next((what for magic, what in FOREIGN_OPENINGS.items() if opening.startswith(magic)), None)


def undecodable_byte(path: Path) -> str:
    """`train.csv:3: byte 0xE9 in column 5 is not UTF-8. …`: the first one."""
    for line, content in enumerate(byte_lines(path), start=1):
        try:
            content.decode("utf-8")
        except UnicodeDecodeError as error:
            byte, column = content[error.start], len(content[: error.start].decode("utf-8")) + 1
            return f"{place(path, line)}: byte 0x{byte:02X} in column {column} is not UTF-8. Save the file as UTF-8"
    return f"{path}: not UTF-8. Save the file as UTF-8"


def byte_lines(path: Path) -> Iterator[bytes]:
    """Lines of the file, unpacked where it is packed, one in memory at a time."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        for line in file:
            yield from line.splitlines()
