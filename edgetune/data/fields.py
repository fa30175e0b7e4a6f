"""The fields of one record, each checked: a value of the right form or an error that says where and what next."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict

from edgetune.data.records import Record
from edgetune.data.wording import guess, kind, quoted, quoted_list
from edgetune.errors import DataError

Columns = Mapping[str, str]
"""Our field names to the file's column names; every field of the task is in it."""

ROLES = ("system", "user", "assistant")


class Message(TypedDict):
    """One turn of a conversation, in the form that chat templates take."""

    role: Literal["system", "user", "assistant"]
    content: str


def check_present(record: Record, fields: Sequence[str], columns: Columns) -> None:
    """Every field has its column in the record; a null or a blank is judged by the field's own function."""
    missing = [field for field in fields if columns[field] not in record.cells]
    if missing:
        absent = ", ".join(f"no {_named(field, columns)}" for field in missing)
        found = quoted_list(record.cells) or "nothing"
        raise DataError(f"{record.where}: {absent}; found: {found}. {_columns_advice(record, missing, columns)}")


def required_text(record: Record, field: str, columns: Columns) -> str:
    """The field's string; null, blank and every other type are errors."""
    value = record.cells[columns[field]]
    named = f"{record.where}: {_named(field, columns)}"
    if value is None:
        raise DataError(f"{named} is null. Fill it in or leave the row out")
    if not isinstance(value, str):
        raise DataError(f"{named} is {kind(value)}, not a string. Write it in quotes")
    return _usable(value, named)


def optional_text(record: Record, field: str, columns: Columns) -> str | None:
    """The field's string, or None where it is absent, null or empty (a CSV cell cannot be absent)."""
    if record.cells.get(columns[field]) in (None, ""):
        return None
    return required_text(record, field, columns)


def label_text(record: Record, field: str, columns: Columns) -> str:
    """The label as a string: 3 is `"3"`, and true is `"true"`, as JSON and CSV write it."""
    value = record.cells[columns[field]]
    if isinstance(value, int):
        return json.dumps(value)
    if isinstance(value, float):
        what = "is a number with a fraction, not a label. Write a string or a whole number"
        raise DataError(f"{record.where}: {_named(field, columns)} {what}")
    return required_text(record, field, columns)


def texts_of(record: Record, field: str, columns: Columns) -> tuple[str, ...]:
    """A list of words, at least one and none with white space in it; a text file's cell holds them with spaces between.

    A tag that is a whole number is that number as a string.
    """
    value, named = record.cells[columns[field]], f"{record.where}: {_named(field, columns)}"
    if isinstance(value, str):
        value = value.split()
    if not isinstance(value, list):
        raise DataError(f"{named} is {kind(value)}, not a list of words")
    if not value:
        raise DataError(f"{named} has no words. Fill it in or leave the row out")
    words = [json.dumps(word) if isinstance(word, int) else word for word in value]
    for number, word in enumerate(words, start=1):
        if not isinstance(word, str):
            raise DataError(f"{named}, word {number}, is {kind(word)}, not a string. Write it in quotes")
        _usable(word, f"{named}, word {number},")
        if len(word.split()) > 1:
            raise DataError(f"{named}, word {number}, is {quoted(word)}: white space separates words. Make it several")
    return tuple(words)


def number_of(record: Record, field: str, columns: Columns) -> float:
    """A finite number, as itself or as the text of one."""
    value, named = record.cells[columns[field]], f"{record.where}: {_named(field, columns)}"
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise DataError(f"{named} is {kind(value)}, not a number")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{named} is {quoted(str(value))}, which is no finite number. Correct it or leave the row out")
    return number


def message_turns(record: Record, field: str, columns: Columns) -> tuple[Message, ...]:
    """The turns of a conversation, at least one of them the assistant's and none of those blank."""
    value = record.cells[columns[field]]
    named = f"{record.where}: {_named(field, columns)}"
    if not isinstance(value, list):
        raise DataError(f'{named} is {kind(value)}, not a list of {{"role": "…", "content": "…"}}')
    turns = tuple(_message(turn, f"{named}, message {number},") for number, turn in enumerate(value, start=1))
    if not any(turn["role"] == "assistant" for turn in turns):
        raise DataError(f'{named} has no message by the role "assistant", so there is nothing to learn')
    return turns


def _message(turn: object, named: str) -> Message:
    if not isinstance(turn, dict):
        raise DataError(f'{named} is {kind(turn)}, not {{"role": "…", "content": "…"}}')
    role, content = turn.get("role"), turn.get("content")
    if role not in ROLES:
        got = f"the role {quoted(role)}" if isinstance(role, str) else "no role"
        raise DataError(f"{named} has {got}; roles are {quoted_list(ROLES)}")
    if not isinstance(content, str):
        raise DataError(f"{named} has {kind(content) if 'content' in turn else 'nothing'} as content, not a string")
    if role == "assistant":
        _usable(content, f"{named} by the assistant,")
    return {"role": role, "content": content}


def _usable(text: str, named: str) -> str:
    if not text or text.isspace():
        raise DataError(f"{named} is blank. Fill it in or leave the row out")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        half = f"\\u{ord(text[error.start]):04x}"
        raise DataError(f"{named} holds {half}, half of a surrogate pair, which no tokenizer takes") from error
    return text


def _named(field: str, columns: Columns) -> str:
    """The column as the file names it, and the field it stands for where the two differ."""
    column = columns[field]
    return quoted(column) if column == field else f"{quoted(column)} (the column named for {quoted(field)})"


def _columns_advice(record: Record, missing: Sequence[str], columns: Columns) -> str:
    """What to pass as `--columns`: the one column left over, a near one, or `COLUMN` to fill in."""
    spare = [name for name in record.cells if name not in columns.values()]
    if len(spare) == len(missing) == 1:
        pairs = f"{missing[0]}={spare[0]}"
    else:
        pairs = ",".join(f"{field}=COLUMN" for field in missing)
    return f"Name the columns with --columns {pairs}" + guess(columns[missing[0]], spare)
