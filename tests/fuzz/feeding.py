"""A reader that is fed: what it may not do is told, and the input that it did so with is kept."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

from board import Board
from targets import ALLOWED, TARGETS, Target

HERE = Path(__file__).parent
CORPUS, FOUND = HERE / "corpus", HERE / "found"
SLOW_S = 1.0


def corpus_of(name: str) -> list[bytes]:
    """The seeds, and what was kept."""
    return [*TARGETS[name].seeds, *(path.read_bytes() for path in sorted((CORPUS / name).glob("*")))]


def problem(target: Target, data: bytes) -> str | None:
    """What a reader does that it may not, by the error's own words; None: all is well."""
    started = time.process_time()
    try:
        target.run(data)
    except ALLOWED:
        pass
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = "" if trace is None else f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        return f"{type(error).__name__}{where}: {str(error)[:200]}"
    took_s = time.process_time() - started
    return f"takes {took_s:.1f} s" if took_s > SLOW_S else None


def kept(name: str, data: bytes) -> Path:
    """Where the input is kept that a reader failed with."""
    (FOUND / name).mkdir(parents=True, exist_ok=True)
    path = FOUND / name / hashlib.sha256(data).hexdigest()[:16]
    path.write_bytes(data)
    return path


class Feeding:
    """Takes inputs for one reader; of those after which it fails one is kept for each place."""

    def __init__(self, name: str, log: Callable[[str], None], board: Board | None = None):
        self.target, self.executions, self.problems = TARGETS[name], 0, set()
        self._name, self._log, self._board = name, log, board

    def __call__(self, data: bytes) -> None:
        self.executions += 1
        if self._board is not None:
            self._board.begin(data)
        what = problem(self.target, data)
        if what is None:
            return
        place = "slow" if what.startswith("takes") else what.split(": ")[0]
        if place not in self.problems:
            self.problems.add(place)
            self._log(f"{what} ({kept(self._name, data).name})")
