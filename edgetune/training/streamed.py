"""Rows that are read while a run goes on: as many in memory as the shuffle buffer holds."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from edgetune.data.stream import Drawn, Place, RowStream, ShuffledStream
from edgetune.errors import DataError
from edgetune.training import examples as reading
from edgetune.training.batches import POOL, like_lengths
from edgetune.training.examples import Example
from edgetune.training.sets import Rows, rows_of
from edgetune.training.survey import Survey


@dataclass(frozen=True)
class StreamedRows:
    """What a stream is where rows in memory are `edgetune.training.sets.Rows`; `buffer_rows` of it are mixed."""

    stream: RowStream
    survey: Survey
    buffer_rows: int

    @property
    def path(self) -> str:
        return self.stream.data

    def has_pairs(self) -> bool:
        return self.survey.pairs

    def scale(self) -> tuple[float, float]:
        return self.survey.scale

    def word_split(self) -> str:
        return self.survey.word_split


class Streamed:
    """A source whose rows are read as they are drawn; the order depends on the seed and the buffer's size.

    What is of like length is told by characters: a row is not turned into tokens before it is its turn.
    """

    def __init__(self, rows: StreamedRows, read: Callable[[Rows], list[Example]]) -> None:
        """`read` turns rows into what the base reads."""
        self.rows, self.read = rows, read
        self.pool, self.used = Place(), 0
        self.told_of_cuts = False

    @property
    def digest(self) -> str:
        return self.rows.stream.identity

    def steps(self, count: int, seed: int, done: int, place: Mapping[str, Tensor]) -> Iterator[Sequence[Drawn]]:
        """See `Source`; the number of steps is not needed."""
        if place:
            self.pool, self.used = place_in(place)
        stream = ShuffledStream(self.rows.stream, seed, self.rows.buffer_rows, self.pool)
        while True:
            at, pool = stream.place, stream.draw(POOL * count)
            chance = random.Random(f"{seed} {stream.place.epoch} {stream.place.draws} order")
            groups = like_lengths(pool, count, characters, chance)
            for number in range(self.used, len(groups)):
                self.pool, self.used = at, number + 1
                yield groups[number]
            self.used = 0

    def place(self) -> dict[str, Tensor]:
        """The stream's place before the pool that steps take rows from, and how many steps have."""
        plain = json.dumps({"pool": self.pool.plain(), "used": self.used}).encode()
        return {"place": torch.frombuffer(bytearray(plain), dtype=torch.uint8)}

    def examples(self, rows: Sequence[Drawn]) -> list[Example]:
        """See `Source`; raises DataError, with the file that it is in, for a row that the base cannot read."""
        with self.cuts_told_once():
            try:
                return self.read(self.named(rows, self.rows.path))
            except DataError:
                for drawn in rows:
                    self.read(self.named([drawn], str(self.rows.stream.shards[drawn.shard].path)))
                raise

    def named(self, rows: Sequence[Drawn], path: str) -> Rows:
        return rows_of(path, self.rows.stream.task, [drawn.row for drawn in rows], self.rows.survey.names)

    @contextmanager
    def cuts_told_once(self) -> Iterator[None]:
        """A warning a run, and not one a step, of texts that are cut."""

        def first(record: logging.LogRecord) -> bool:
            says, self.told_of_cuts = not self.told_of_cuts, True
            return says

        reading.log.addFilter(first)
        try:
            yield
        finally:
            reading.log.removeFilter(first)


def place_in(tensors: Mapping[str, Tensor]) -> tuple[Place, int]:
    """What `Streamed.place` wrote."""
    plain: dict[str, Any] = json.loads(tensors["place"].numpy().tobytes())
    return Place.of(plain["pool"]), plain["used"]


def characters(drawn: Drawn) -> int:
    """About how long the row is."""
    return len(repr(drawn.row))
