"""What must be known of all rows before the first is learned from, found by reading a stream once."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from edgetune_runtime.words import split_of

from edgetune.data.labels import label_names, tag_names
from edgetune.data.stream import LOOKED_AT, RowStream
from edgetune.methods.scaled import scale_of

log = logging.getLogger(__name__)

LARGE = 100_000
"""Rows from which on it is said that all are read in advance."""


@dataclass(frozen=True)
class Survey:
    """Of a stream.

    Attributes:
        names: of labels or tags, in the order of their numbers; empty where the task has none.
        pairs: whether a row has a second text.
        scale: mean and deviation of a regression's numbers.
        word_split: what the words of tagged rows were made with.
    """

    names: tuple[str, ...] = ()
    pairs: bool = False
    scale: tuple[float, float] = (0.0, 1.0)
    word_split: str = "space"


def survey_of(stream: RowStream, names: Sequence[str] = ()) -> Survey:
    """Everything is read, a generator's rows excepted; with `names` of labels or tags the start alone.

    Raises DataError for a row that cannot be used, or rows that leave nothing to tell apart.
    """
    if stream.task == "generate":
        return Survey()
    if stream.task == "regress":
        return of_numbers(told(stream))
    if names:
        start = list(islice(stream, LOOKED_AT))
        return of_tags(start, names) if stream.task == "tag" else Survey(tuple(names), pairs=any(map(is_pair, start)))
    # one row of each name says as much about names as all of them
    pairs, bringing = False, {}
    for row in told(stream):
        pairs = pairs or is_pair(row)
        for name in row.tags if stream.task == "tag" else (row.label,):
            bringing.setdefault(name, row)
    if stream.task == "tag":
        return of_tags(stream, tag_names(bringing.values(), stream.data))
    return Survey(tuple(label_names(bringing.values(), stream.data)), pairs)


def of_numbers(rows: Iterable[Any]) -> Survey:
    pairs, scores = False, array("d")
    for row in rows:
        pairs = pairs or is_pair(row)
        scores.append(row.score)
    return Survey(pairs=pairs, scale=scale_of(scores))


def of_tags(rows: Iterable[Any], names: Sequence[str]) -> Survey:
    return Survey(tuple(names), word_split=split_of(row.tokens for row in rows))


def is_pair(row: Any) -> bool:
    return getattr(row, "text_pair", None) is not None


def told(stream: RowStream) -> Iterator[Any]:
    """All rows; of many it is said why they are read."""
    wants = {"regress": "the mean of their scores", "tag": "their tags", "classify": "their labels"}[stream.task]
    saves = "" if stream.task == "regress" else "; --labels saves that"
    for number, row in enumerate(stream, 1):
        if number == LARGE:
            log.warning("reading all of %s for %s before training begins%s", stream.data, wants, saves)
        yield row
