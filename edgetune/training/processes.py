"""The processes that train together: each takes its share of every step's rows, and all learn one and the same.

What is learned is kilobytes and the base is frozen, so there is nothing for torch's DistributedDataParallel to do: it
would wrap a base without gradients and ask each process for as many rows as the others. Gradients are added up by one
sum a step, weighted by what the processes' rows count. A process may have fewer rows than others, or none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Extent:
    """One step of all processes.

    Attributes:
        losses: what its loss is the mean of.
        passes: batches of the process that has the most.
        stops: one of them was told to end the run behind this step.
    """

    losses: int
    rows: int
    passes: int
    stops: bool = False


@dataclass(frozen=True)
class Sharding:
    """How a base is divided among the processes.

    Attributes:
        forgets: a layer's weights go behind the forward pass and come again for the backward one; otherwise they stay.
        layers: names of the layers' classes; empty: those that transformers keeps on one device.
    """

    forgets: bool = True
    layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Processes:
    """One process among `count`; this class itself is a process alone and talks to nobody.

    Attributes:
        rank: its number, from 0. The process 0 alone reads, checks and writes the run's folder.
        device: torch's name of what it computes on.
        sharding: how the base is divided among the processes; None where each holds the whole of it.
    """

    rank: int = 0
    count: int = 1
    device: str = "cpu"
    sharding: Sharding | None = None

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def share(self, rows: Sequence[T]) -> Sequence[T]:
        """This process's of a step's rows; of rows in order of length all get short and long ones."""
        return rows[self.rank :: self.count]

    def extent(self, losses: int, rows: int, passes: int, stops: bool) -> Extent:
        """What the processes have of a step together."""
        every = self.of_all((losses, rows, passes, stops))
        return Extent(
            sum(x[0] for x in every), sum(x[1] for x in every), max(x[2] for x in every), any(x[3] for x in every)
        )

    def summed(self, x: Any) -> Any:
        """The sum of the processes' tensors, the same bits for all."""
        return x

    def of_all(self, mine: T) -> list[T]:
        """What each process gives, by rank. It is pickled."""
        return [mine]

    def from_main(self, make: Callable[[], T]) -> T:
        """What `make` gives in the process 0, where alone it is called."""
        return make()


ALONE = Processes()
