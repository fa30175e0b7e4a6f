"""The rows of a run with what is to be learned of each; no model is needed yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgetune_runtime.words import split_of

from edgetune.config import TrainConfig
from edgetune.data.labels import label_ids, label_names, tag_ids, tag_names
from edgetune.data.rows import read_rows
from edgetune.methods.scaled import scale_of
from edgetune.methods.words import LabelWords
from edgetune.models.base import Base
from edgetune.training.examples import Example, class_examples, generation_examples, number_examples
from edgetune.training.pairs import pair_examples
from edgetune.training.tagging import tag_examples
from edgetune.training.templates import word_examples


@dataclass(frozen=True)
class Rows:
    """The rows of one file.

    Attributes:
        rows: of `edgetune.data.rows`, all of the task's own type.
        targets: of a classifier's rows the label's number, of a row of words the numbers of its tags; else empty.
    """

    path: str
    task: str
    rows: Sequence[Any]
    targets: Sequence[Any] = ()

    def has_pairs(self) -> bool:
        """A row has a second text."""
        return any(getattr(row, "text_pair", None) is not None for row in self.rows)

    def scale(self) -> tuple[float, float]:
        """Mean and deviation of a regression's numbers."""
        return scale_of([row.score for row in self.rows])

    def word_split(self) -> str:
        """What the words of tagged rows were made with."""
        return split_of(row.tokens for row in self.rows)


def read_sets(config: TrainConfig) -> tuple[list[Rows], tuple[str, ...]]:
    """Training rows, held-out rows where there are any, and the names of labels or tags."""
    paths = [config.data, *([config.eval_data] if config.eval_data else [])]
    read: list[Any] = [read_rows(path, task=config.task, columns=config.columns) for path in paths]
    names_of = {"classify": label_names, "tag": tag_names}.get(config.task)
    names = config.label_list or (tuple(names_of(read[0], config.data)) if names_of else ())
    return [rows_of(path, config.task, rows, names) for path, rows in zip(paths, read)], names


def held_out_of(config: TrainConfig, names: Sequence[str]) -> list[Rows]:
    """The evaluation rows, or none, for training rows that are not in memory."""
    if not config.eval_data:
        return []
    rows: Any = read_rows(config.eval_data, task=config.task, columns=config.columns)
    return [rows_of(config.eval_data, config.task, rows, names)]


def rows_of(path: str, task: str, rows: Sequence[Any], names: Sequence[str]) -> Rows:
    """Raises DataError for a label or a tag that is not among the names."""
    ids_of: Any = {"classify": label_ids, "tag": tag_ids}.get(task)
    return Rows(path, task, rows, ids_of(rows, names, path) if ids_of else ())


def examples_of(
    base: Base, rows: Rows, limit: int | None, words: LabelWords | None = None, suffix: int = 0
) -> list[Example]:
    """As the base reads them, `limit` tokens at most; a generator's with the ids of a suffix of Q vectors."""
    if words is not None:
        return word_examples(base, rows.rows, rows.targets, limit, words, rows.path)
    if rows.task == "classify":
        return class_examples(base, rows.rows, rows.targets, limit)
    if rows.task == "tag":
        return tag_examples(base, rows.rows, rows.targets, limit)
    if rows.task == "regress":
        return number_examples(base, rows.rows, limit)
    if base.places:
        return pair_examples(base, rows.rows, limit, rows.path)
    return generation_examples(base, rows.rows, limit, rows.path, suffix)
