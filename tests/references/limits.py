"""What a call costs that somebody else's file makes: measured in a process of its own, which is stopped if it hangs."""

from __future__ import annotations

import os
import pickle
import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edgetune_runtime import EdgetuneError

HANGS_S = 100
MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Outcome:
    """How a call ended."""

    error: BaseException | None
    """One of ours, or a RuntimeError that names another."""
    peak_bytes: int
    """Of memory, beyond what the process had before."""


def outcome_of(call: Callable[[], Any]) -> Outcome:
    """Forks, calls, tells. AssertionError where the process dies or is not done after `HANGS_S` seconds."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(HANGS_S)
        before, error = peak_bytes(), None
        try:
            call()
        except BaseException as caught:
            error = caught
        with os.fdopen(writing, "wb") as out:
            kind = type(error) if isinstance(error, EdgetuneError) else RuntimeError
            message = str(error) if kind is not RuntimeError else f"{type(error).__name__}: {error}"
            pickle.dump((None if error is None else kind, message, peak_bytes() - before), out)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as found:
        said = found.read()
    _, status = os.waitpid(child, 0)
    assert said, f"the process ended with the status {status}: it hangs, or crashes"
    kind, message, peak = pickle.loads(said)
    return Outcome(None if kind is None else kind(message), peak)


def peak_bytes() -> int:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
