"""Rows that do not fit into memory: read one by one, and mixed by a buffer whose state can be written down."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import Any

from edgetune.data.rows import (
    Conversation,
    LabelledText,
    PromptCompletion,
    Row,
    ScoredText,
    TaggedWords,
    Task,
    check_columns,
    columns_of,
    row_of,
)
from edgetune.data.shards import Shard, identity, shards_of
from edgetune.errors import DataError

LOOKED_AT = 1000
"""Records at the start of a stream in which a column that was asked for must come up."""
KINDS = {kind.__name__: kind for kind in (LabelledText, TaggedWords, ScoredText, PromptCompletion, Conversation)}


class RowStream:
    """The rows of all shards, each checked as it is read. Iterating begins anew, in the order of the shards."""

    def __init__(self, data: str, task: Task, columns: Mapping[str, str] | None = None) -> None:
        """Raises DataError where nothing is there, or the start of it is no data of the task's."""
        self.data, self.columns = data, columns_of(columns or {}, task)
        self.task: Task = task
        self.shards: list[Shard] = shards_of(data)
        first = [record for shard in self.shards[:1] for _, record in islice(shard.records(), LOOKED_AT)]
        if not first and len(self.shards) < 2:
            raise DataError(f"{data}: there are no rows")
        if first:
            check_columns(first[0].path, columns or {}, first)

    @property
    def identity(self) -> str:
        """Equal for equal shards, without reading all of them."""
        return identity(self.shards)

    def rows(self, shard: int, done: int = 0) -> Iterator[tuple[int, Row]]:
        """Rows of one shard behind the first `done` records, each with how many have been read with it.

        Raises DataError, with its place, for one that cannot be used.
        """
        for read, record in self.shards[shard].records(done):
            yield read, row_of(record, self.task, self.columns)

    def __iter__(self) -> Iterator[Row]:
        for shard in range(len(self.shards)):
            for _, row in self.rows(shard):
                yield row


@dataclass(frozen=True)
class Drawn:
    """A row and the number of the shard that it is from."""

    row: Row
    shard: int


@dataclass(frozen=True)
class Place:
    """Where a shuffled stream stands: what is drawn from here on depends on nothing else.

    Attributes:
        epoch: times that all rows were drawn.
        draws: how often rows were drawn in this epoch.
        shard, done: in the epoch's order the shard that is read, and records read of it.
        buffer: rows read and not drawn.
    """

    epoch: int = 0
    draws: int = 0
    shard: int = 0
    done: int = 0
    buffer: tuple[Drawn, ...] = field(default=(), repr=False)

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        rows = [[type(drawn.row).__name__, drawn.shard, asdict(drawn.row)] for drawn in self.buffer]
        return {**{name: getattr(self, name) for name in ("epoch", "draws", "shard", "done")}, "buffer": rows}

    @staticmethod
    def of(plain: Mapping[str, Any]) -> Place:
        """What `plain` gave."""
        rows = (Drawn(KINDS[kind](**cells_of(cells)), shard) for kind, shard, cells in plain["buffer"])
        return Place(**{**plain, "buffer": tuple(rows)})


def cells_of(cells: Mapping[str, Any]) -> dict[str, Any]:
    """Lists as the tuples that rows have."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in cells.items()}


class ShuffledStream:
    """A stream's rows, each once an epoch, in an order that the seed and the size of the buffer say.

    The order of the shards is drawn anew for each epoch; rows are drawn from a buffer of up to `size` beside those that
    are drawn, as `datasets` does. That library does not keep its buffer when its state is saved, so rows would be lost.
    """

    def __init__(self, stream: RowStream, seed: int, size: int, place: Place = Place()) -> None:
        self.stream, self.seed, self.size, self.place = stream, seed, size, place
        self._reading: Iterator[tuple[int, int, Drawn]] | None = None

    def draw(self, count: int) -> list[Drawn]:
        """The next `count` rows, fewer at the end of an epoch and never none. `place` is behind them."""
        place, buffer = self.place, list(self.place.buffer)
        if self._reading is None:
            self._reading = self._read(place)
        for shard, done, row in islice(self._reading, max(0, self.size + count - len(buffer))):
            place = replace(place, shard=shard, done=done)
            buffer.append(row)
        if not buffer:
            if not place.draws:
                raise DataError(f"{self.stream.data}: there are no rows")
            self.place, self._reading = Place(epoch=place.epoch + 1), None
            return self.draw(count)
        chance, drawn = random.Random(f"{self.seed} {place.epoch} {place.draws}"), []
        while buffer and len(drawn) < count:
            at = chance.randrange(len(buffer))
            buffer[at], buffer[-1] = buffer[-1], buffer[at]
            drawn.append(buffer.pop())
        self.place = replace(place, draws=place.draws + 1, buffer=tuple(buffer))
        return drawn

    def _read(self, start: Place) -> Iterator[tuple[int, int, Drawn]]:
        """Rows of the epoch behind `start`, each with `shard` and `done` of the place behind it."""
        order = list(range(len(self.stream.shards)))
        random.Random(f"{self.seed} {start.epoch}").shuffle(order)
        done = start.done
        for at in range(start.shard, len(order)):
            for read, row in self.stream.rows(order[at], done):
                yield at, read, Drawn(row, order[at])
            done = 0
