"""Rows to learn from and to be measured on, read from one file and checked before any model is loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Literal, TypeAlias, overload

from edgetune.data.fields import (
    Columns,
    Message,
    check_present,
    label_text,
    message_turns,
    number_of,
    optional_text,
    required_text,
    texts_of,
)
from edgetune.data.records import Record, read_records
from edgetune.data.wording import guess, quoted, quoted_list
from edgetune.errors import DataError

Task: TypeAlias = Literal["classify", "tag", "regress", "generate"]

FIELDS: dict[Task, tuple[str, ...]] = {
    "classify": ("text", "label", "text_pair"),
    "tag": ("tokens", "tags"),
    "regress": ("text", "score", "text_pair"),
    "generate": ("prompt", "completion", "messages"),
}
"""Our names for the columns that a task's rows may have."""


@dataclass(frozen=True)
class LabelledText:
    """A text, or a pair of texts, and the name of its class."""

    text: str
    label: str
    text_pair: str | None = None
    line: int = field(default=0, compare=False)
    """Where the row starts in its file, from 1; 0 for a row from elsewhere."""


@dataclass(frozen=True)
class TaggedWords:
    """The words of a text and the tag of each."""

    tokens: tuple[str, ...]
    tags: tuple[str, ...]
    line: int = field(default=0, compare=False)
    """Where the row starts in its file, from 1; 0 for a row from elsewhere."""


@dataclass(frozen=True)
class ScoredText:
    """A text, or a pair of texts, and a number."""

    text: str
    score: float
    text_pair: str | None = None
    line: int = field(default=0, compare=False)
    """Where the row starts in its file, from 1; 0 for a row from elsewhere."""


@dataclass(frozen=True)
class PromptCompletion:
    """A prompt and the text that should follow it."""

    prompt: str
    completion: str
    line: int = field(default=0, compare=False)
    """Where the row starts in its file, from 1; 0 for a row from elsewhere."""


@dataclass(frozen=True)
class Conversation:
    """Turns in the form that chat templates take; at least one is the assistant's."""

    messages: tuple[Message, ...]
    line: int = field(default=0, compare=False)
    """Where the row starts in its file, from 1; 0 for a row from elsewhere."""


Row: TypeAlias = LabelledText | TaggedWords | ScoredText | PromptCompletion | Conversation


@overload
def read_rows(
    path: str | PathLike[str], *, task: Literal["classify"], columns: Mapping[str, str] | None = None
) -> list[LabelledText]: ...
@overload
def read_rows(
    path: str | PathLike[str], *, task: Literal["tag"], columns: Mapping[str, str] | None = None
) -> list[TaggedWords]: ...
@overload
def read_rows(
    path: str | PathLike[str], *, task: Literal["regress"], columns: Mapping[str, str] | None = None
) -> list[ScoredText]: ...
@overload
def read_rows(
    path: str | PathLike[str], *, task: Literal["generate"], columns: Mapping[str, str] | None = None
) -> list[PromptCompletion | Conversation]: ...
def read_rows(
    path: str | PathLike[str], *, task: Task, columns: Mapping[str, str] | None = None
) -> list[LabelledText] | list[TaggedWords] | list[ScoredText] | list[PromptCompletion | Conversation]:
    """All rows of a JSONL, JSON, CSV, TSV or Parquet file in the file's order, at least one.

    `columns` maps our field names to the file's, such as `{"text": "query", "label": "category"}`; columns that are not
    asked for are ignored. Line breaks within a text file's cells come out as `\\n`.

    Raises DataError, in one line, for the first thing in the file that cannot be used.
    """
    path, given = Path(path), dict(columns or {})
    every = columns_of(given, task)
    records = read_records(path)
    check_columns(path, given, records)
    return [row_of(record, task, every) for record in records]  # type: ignore[return-value]  # of the task's own type


def columns_of(given: Mapping[str, str], task: Task) -> Columns:
    """Every field of the task with its column; raises DataError for a field that the task does not have."""
    for name in given:
        if name not in FIELDS[task]:
            known = quoted_list(FIELDS[task])
            raise DataError(f"--columns: no field {quoted(name)}{guess(name, FIELDS[task])}. To {task} takes {known}")
    return {name: given.get(name, name) for name in FIELDS[task]}


def row_of(record: Record, task: Task, columns: Columns) -> Row:
    """Raises DataError, with its place, for a record that is no row of the task."""
    if task == "classify":
        return _labelled_text(record, columns)
    if task == "tag":
        return _tagged_words(record, columns)
    if task == "regress":
        return _scored_text(record, columns)
    return _prompt_completion_or_conversation(record, columns)


def _labelled_text(record: Record, columns: Columns) -> LabelledText:
    check_present(record, ("text", "label"), columns)
    return LabelledText(
        text=required_text(record, "text", columns),
        label=label_text(record, "label", columns),
        text_pair=optional_text(record, "text_pair", columns),
        line=record.line,
    )


def _tagged_words(record: Record, columns: Columns) -> TaggedWords:
    check_present(record, ("tokens", "tags"), columns)
    tokens, tags = texts_of(record, "tokens", columns), texts_of(record, "tags", columns)
    if len(tokens) != len(tags):
        raise DataError(f"{record.where}: {len(tokens)} tokens and {len(tags)} tags. Give every word one tag")
    return TaggedWords(tokens, tags, line=record.line)


def _scored_text(record: Record, columns: Columns) -> ScoredText:
    check_present(record, ("text", "score"), columns)
    return ScoredText(
        text=required_text(record, "text", columns),
        score=number_of(record, "score", columns),
        text_pair=optional_text(record, "text_pair", columns),
        line=record.line,
    )


def _prompt_completion_or_conversation(record: Record, columns: Columns) -> PromptCompletion | Conversation:
    """Null `messages` are none: a Parquet file has every column in every row."""
    has_prompt = columns["prompt"] in record.cells or columns["completion"] in record.cells
    messages = record.cells.get(columns["messages"])
    if messages is not None or (columns["messages"] in record.cells and not has_prompt):
        return Conversation(message_turns(record, "messages", columns), line=record.line)
    check_present(record, ("prompt", "completion"), columns)
    return PromptCompletion(
        prompt=required_text(record, "prompt", columns),
        completion=required_text(record, "completion", columns),
        line=record.line,
    )


def check_columns(path: Path, given: Mapping[str, str], records: Sequence[Record]) -> None:
    """A column that was named is in at least one record: an optional one would be ignored in silence otherwise."""
    for name, column in given.items():
        if not any(column in record.cells for record in records):
            found = list(dict.fromkeys(key for record in records for key in record.cells))
            raise DataError(
                f"{path}: no column {quoted(column)} for --columns {name}={column}{guess(column, found)}; "
                f"found: {quoted_list(found) or 'nothing'}"
            )
