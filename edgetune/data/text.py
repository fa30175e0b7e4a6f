"""A file that is one text."""

from pathlib import Path

from edgetune.data.locate import foreign_opening, undecodable_byte
from edgetune.errors import DataError


def read_text(path: str | Path) -> str:
    """All of it, its last line's end too; a byte order mark is left out. Raises DataError where it is not UTF-8."""
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file. Name a file with the text")
    content = path.read_bytes()
    if foreign := foreign_opening(content[:4]):
        raise DataError(f"{path}: the file {foreign}")
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise DataError(undecodable_byte(path)) from error
