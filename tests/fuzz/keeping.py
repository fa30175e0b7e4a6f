"""Which inputs are worth keeping: those that reach lines of the runtime that no other one reaches."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import edgetune_runtime
from feeding import CORPUS, corpus_of, problem
from targets import TARGETS

PACKAGE = str(Path(edgetune_runtime.__file__).parent)
MOST_FILES, MOST_BYTES = 24, 4096
"""Of one reader; of one file."""
Step = tuple[str, int, int]
"""From one line of a file to another."""


def steps_of(run: Callable[[bytes], object], data: bytes) -> set[Step]:
    """The steps within the runtime that are made while it reads `data`."""
    found: set[Step] = set()

    def called(frame: Any, event: str, argument: Any) -> Any:
        name = frame.f_code.co_filename
        if not name.startswith(PACKAGE):
            return None
        last = [0]

        def stepped(frame: Any, event: str, argument: Any) -> Any:
            found.add((name, last[0], frame.f_lineno))
            last[0] = frame.f_lineno
            return stepped

        return stepped

    sys.settrace(called)
    try:
        run(data)
    finally:
        sys.settrace(None)
    return found


def keep_new(reader: str, folder: Path) -> int:
    """Adds to a reader's corpus what of `folder` adds the most to it, the most first; how many that are."""
    target = TARGETS[reader]

    def run(data: bytes) -> object:
        return problem(target, data)

    known: set[Step] = set().union(*(steps_of(run, x) for x in corpus_of(reader)))
    paths = sorted(folder.glob("*"), key=lambda x: (x.stat().st_size, x.name))
    reach = {path: steps_of(run, path.read_bytes()) - known for path in paths if path.stat().st_size <= MOST_BYTES}
    kept, room = 0, MOST_FILES - len(list((CORPUS / reader).glob("*")))
    while kept < room and reach:
        best = max(reach, key=lambda path: len(reach[path]))  # of equals the smallest
        new = reach.pop(best)
        if not new:
            break
        (CORPUS / reader).mkdir(exist_ok=True)
        (CORPUS / reader / best.name[:16]).write_bytes(best.read_bytes())
        reach = {path: steps - new for path, steps in reach.items()}
        kept += 1
    return kept
