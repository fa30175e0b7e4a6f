"""A process that a launcher started beside others: its group, what it sends, and the one message of a failure."""

from __future__ import annotations

import logging
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from edgetune.errors import ConfigError, EdgetuneError, LostProcessError, Terminated
from edgetune.training.launcher import sharding_asked
from edgetune.training.processes import ALONE, Processes
from edgetune.training.termination import raised_termination
from edgetune.training.watch import Watch

T = TypeVar("T")

PATIENCE = timedelta(days=1)
"""Of collectives: a silent process is noticed by the watch, and no other is ever too slow."""

LOST = re.compile("connection (closed|reset)|broken pipe|socket closed|remote process exited|aborted", re.IGNORECASE)
"""What torch's backends say when a peer is gone."""


@dataclass(frozen=True)
class Launched(Processes):
    """One of several, through torch.distributed."""

    def summed(self, x: Any) -> Any:
        import torch.distributed as group

        group.all_reduce(x)
        return x

    def of_all(self, mine: T) -> list[T]:
        import torch.distributed as group

        found: list[Any] = [None] * self.count
        group.all_gather_object(found, mine)
        return found

    def from_main(self, make: Callable[[], T]) -> T:
        import torch.distributed as group

        found: list[Any] = [make() if self.is_main else None]
        group.broadcast_object_list(found, src=0)
        return found[0]


def launched() -> bool:
    """A launcher started this process and others beside it."""
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE") or 1) > 1


@contextmanager
def launched_together(tell: Callable[[str], None]) -> Iterator[Processes]:
    """The processes that train together: this one alone, unless a launcher started others.

    An error in one of them ends all. It leaves the block in the process where it came first and SystemExit leaves it in
    the others, so that it is told once; `tell` prints where the main thread cannot.

    Raises:
        ConfigError: accelerate is not installed, or is told to do what edgetune does not.
        LostProcessError: another process has ended.
    """
    if not launched():
        yield ALONE
        return
    try:
        processes = started()
    except ConfigError as error:
        if os.environ.get("LOCAL_RANK", "0") != "0":  # it is the same on all of a machine
            raise SystemExit(1) from error
        raise
    watch = Watch(shared_store(processes), processes.rank, processes.count, tell)
    watch.start()
    if not processes.is_main:
        logging.disable(logging.WARNING)
    try:
        with raised_termination():
            yield processes
            processes.of_all(None)
    except BaseException as error:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the launcher sends it to those who are left
        found = LostProcessError(f"another process has ended ({first_line(error)})") if is_loss(error) else error
        if not watch.first_to_tell():
            raise SystemExit(exit_code(error)) from error
        watch.linger()
        if found is error:
            raise
        raise found from error
    watch.stop()
    ended()


def started() -> Processes:
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise ConfigError(
            'several processes train together through accelerate: pip install "edgetune[distributed]"'
        ) from error
    import torch

    cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true") or not torch.accelerator.is_available()
    state = PartialState(cpu=cpu, timeout=PATIENCE)
    return Launched(state.process_index, state.num_processes, str(state.device), sharding_asked())


def shared_store(processes: Processes) -> Any:
    """A store of the watch's own, held by the process 0: it must not wait for what others ask of the group's."""
    from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

    host, patience = os.environ.get("MASTER_ADDR", "127.0.0.1"), timedelta(seconds=20)
    main = TCPStore(host, 0, None, True, patience, wait_for_workers=False) if processes.is_main else None
    port = processes.from_main(lambda: main.port if main else 0)
    return main or TCPStore(host, port, None, False, patience, wait_for_workers=False)


def ended() -> None:
    import torch.distributed as group

    group.destroy_process_group()


def is_loss(error: BaseException) -> bool:
    """Said by a collective whose peer is gone, not by the work itself."""
    return isinstance(error, RuntimeError) and not isinstance(error, EdgetuneError) and bool(LOST.search(str(error)))


def first_line(error: BaseException) -> str:
    """Its first sentence, without the place in torch's source that it begins with."""
    return re.sub(r"^\[[^\]]*\]\s*", "", str(error).strip().splitlines()[0]).partition(". ")[0][:200]


def exit_code(error: BaseException) -> int:
    return 143 if isinstance(error, Terminated) else 130 if isinstance(error, KeyboardInterrupt) else 1
