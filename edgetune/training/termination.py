"""SIGTERM, with which schedulers take a machine back: training ends behind the step that it is in."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from edgetune.errors import Terminated


@dataclass
class Notice:
    """Whether SIGTERM has come."""

    given: bool = False


@contextmanager
def noted_termination(*, together: bool) -> Iterator[Notice]:
    """Inside, the first SIGTERM is noted and does nothing else; the next one ends the process as it always did.

    Where others train `together` with this process no SIGTERM does more: when one of them fails, their launcher sends
    it to those who are left, who have something to tell. That holds behind a block that fails, too.
    """
    notice = Notice()
    if threading.current_thread() is not threading.main_thread():
        yield notice  # signals are the main thread's
        return

    def note(number: int, frame: FrameType | None) -> None:
        notice.given = True
        if not together:
            signal.signal(signal.SIGTERM, before)

    before = signal.signal(signal.SIGTERM, note)
    failed = True
    try:
        yield notice
        failed = False
    finally:
        if not (together and failed):
            signal.signal(signal.SIGTERM, before)


@contextmanager
def raised_termination() -> Iterator[None]:
    """Inside, SIGTERM raises Terminated, once: there is no step under way whose end could be waited for."""

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated("stopped by SIGTERM while no step was under way; what was kept before it is still there")

    before = signal.signal(signal.SIGTERM, end)
    yield
    signal.signal(signal.SIGTERM, before)
