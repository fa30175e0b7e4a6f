"""Watch over the processes of a run: who falls silent is noticed, and what fails is told once.

Time limits of collectives cannot tell a slow process from a dead one: one that loads, evaluates or has the longest rows
lets the others wait for minutes. Here each process gives a sign of life every second, from a thread of its own, however
long its work takes; the process 0 listens to all, all listen to it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

BEAT = 1.0
"""Seconds between two signs of life."""

SILENCE = 30.0
"""Seconds without one after which a process counts as lost."""

GRACE = 5.0
"""Seconds that a process has to end by itself, what it was doing cleaned up, once something has failed."""

TOLD, HEARD = "told", "heard"
"""Keys of the store: how many wanted to tell what failed, and how many of the others know of it."""


class Watch:
    """Signs of life through a store of torch.distributed that the process 0 holds.

    `tell` prints the one line where the main thread cannot, since it hangs in a collective.
    """

    def __init__(self, store: Any, rank: int, count: int, tell: Callable[[str], None]) -> None:
        self.store, self.rank, self.count, self.tell = store, rank, count, tell
        self.over = threading.Event()
        self.lock = threading.Lock()
        self.told = False
        self.answered = time.monotonic()
        self.threads = [threading.Thread(target=x, name="watch", daemon=True) for x in (self.run, self.guard)]

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join(GRACE)

    def added(self, key: str, amount: int) -> int:
        with self.lock:
            return self.store.add(key, amount)

    def first_to_tell(self) -> bool:
        """Whether nobody has told yet what failed; whoever asks first is to tell it.

        With the process 0 the store is gone, and the process 1 tells.
        """
        try:
            return not self.told and self.added(TOLD, 1) == 1
        except Exception:  # torch names several, by version
            return self.rank == 1

    def linger(self) -> None:
        """The process 0, with its store, stays until the others know that it has told what failed."""
        end = time.monotonic() + 2 * GRACE
        while self.rank == 0 and time.monotonic() < end and self.added(HEARD, 0) < self.count - 1:
            time.sleep(BEAT / 10)

    def run(self) -> None:
        heard_of: dict[int, tuple[int, float]] = dict.fromkeys(self.others(), (0, time.monotonic()))
        while not self.over.wait(BEAT):
            try:
                self.added(f"beat {self.rank}", 1)
                self.told = self.added(TOLD, 0) > 0
                if self.told:
                    self.added(HEARD, 1)
                beats = {other: self.added(f"beat {other}", 0) for other in heard_of}
            except Exception:
                self.end("the process 0 has ended or cannot be reached", self.rank == 1)
                return
            self.answered = time.monotonic()
            if self.told:
                self.end("", False)
                return
            now = time.monotonic()
            for other, beat in beats.items():
                if beat != heard_of[other][0]:
                    heard_of[other] = beat, now
                elif now - heard_of[other][1] > SILENCE:
                    self.end(silence_of(other), self.first_to_tell(), grace=0.0)
                    return

    def guard(self) -> None:
        """The process 0 may fall silent with its store, whose answer is waited for without end."""
        while not self.over.wait(BEAT):
            if time.monotonic() - self.answered > SILENCE:
                self.end(silence_of(0), self.rank == 1, grace=0.0)

    def others(self) -> Iterator[int]:
        """Whom this process listens to."""
        yield from range(1, self.count) if self.rank == 0 else (0,)

    def end(self, message: str, tells: bool, grace: float = GRACE) -> None:
        """The process ends, unless it does so by itself in time."""
        if self.over.wait(grace):
            return
        if tells:
            self.tell(f"{message}; continue with --resume where a state was kept")
        os._exit(1)


def silence_of(process: int) -> str:
    return f"nothing has been heard of the process {process} for {SILENCE:.0f} s"
