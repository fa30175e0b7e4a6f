"""Feeds one reader by atheris, which looks for inputs that reach new code; `run.py` starts it.

python tests/fuzz/guided.py manifest BOARD FOLDER -runs=10000

Atheris (`pip install atheris`, Linux) is not installed with the rest. Of a reader's corpus it keeps what reaches new
code in FOLDER; the options are libFuzzer's. What is found is said, a line each; how much was tried the board tells.
"""

from __future__ import annotations

import importlib
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
atheris: Any = importlib.import_module("atheris")

with atheris.instrument_imports(include=["edgetune_runtime"]):
    from board import Board
    from feeding import Feeding, corpus_of


def main() -> None:
    name, board, folder, *options = sys.argv[1:]
    Path(folder).mkdir(parents=True, exist_ok=True)
    seeds = Path(tempfile.mkdtemp(prefix="edgetune-seeds-"))
    for i, data in enumerate(corpus_of(name)):
        (seeds / str(i)).write_bytes(data)
    logging.disable(logging.CRITICAL)
    feed = Feeding(name, lambda line: print(line, flush=True), Board(Path(board)))
    atheris.Setup([sys.argv[0], folder, str(seeds), *options], feed)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
