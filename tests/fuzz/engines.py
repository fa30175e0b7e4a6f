"""Feeds one reader for a while, by one of the engines that need nothing but Python; `run.py` starts it.

python tests/fuzz/engines.py hypothesis manifest --seconds 10

`mutations` changes the bytes of what is known; `hypothesis` makes files and texts of the right form with anything in
it. The third engine is `guided.py`. What is found is said, a line each.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
from board import Board  # noqa: E402
from feeding import Feeding, corpus_of  # noqa: E402
from mutations import changed  # noqa: E402
from targets import TARGETS  # noqa: E402

Feed = Callable[[bytes], None]


def mutated(name: str, feed: Feed, seed: int, goes_on: Callable[[], bool]) -> None:
    """Changed bytes of the reader's corpus."""
    rng, seeds = random.Random(seed), corpus_of(name)
    while goes_on():
        feed(changed(rng.choice(seeds), seeds, rng))


def generated(name: str, feed: Feed, seed: int, goes_on: Callable[[], bool]) -> None:
    """What hypothesis draws from the reader's strategy."""
    import hypothesis
    from hypothesis import HealthCheck, Phase
    from strategies import STRATEGIES

    settings = hypothesis.settings(
        max_examples=200, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=[*HealthCheck]
    )
    while goes_on():
        seed += 1
        hypothesis.seed(seed)(settings(hypothesis.given(STRATEGIES[name])(feed)))()


ENGINES = {"mutations": mutated, "hypothesis": generated}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=list(ENGINES))
    parser.add_argument("reader", choices=list(TARGETS))
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--board", type=Path, help="the file that whoever watches looks at")
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    until = time.monotonic() + asked.seconds
    feed = Feeding(asked.reader, lambda line: print(line, flush=True), asked.board and Board(asked.board))

    def fed(data: bytes) -> None:
        feed(data)

    ENGINES[asked.engine](asked.reader, fed, asked.seed, lambda: time.monotonic() < until)
    if not asked.board:
        print(f"{feed.executions} executions")


if __name__ == "__main__":
    main()
