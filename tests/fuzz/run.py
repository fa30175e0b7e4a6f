"""Fuzzes every reader with changed seeds: python tests/fuzz/run.py --minutes 30 --log fuzz.log

One line a minute tells how many inputs each reader has taken. An input after which something else than one of our
errors comes, or which takes a second, is kept in `tests/fuzz/found/`, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import random
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
from mutations import changed  # noqa: E402
from targets import ALLOWED, TARGETS, Target  # noqa: E402

HERE = Path(__file__).parent
CORPUS, FOUND = HERE / "corpus", HERE / "found"
SLOW_S = 1.0


def corpus_of(name: str, target: Target) -> list[bytes]:
    """The seeds, and what was kept."""
    return [*target.seeds, *(path.read_bytes() for path in sorted((CORPUS / name).glob("*")))]


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


def fuzzed(names: list[str], rng: random.Random, *, until: float, most: int | None, log) -> dict[str, int]:
    """Inputs taken by each reader, until that time or until each had `most`."""
    counts, problems, said = dict.fromkeys(names, 0), set(), time.monotonic()
    corpora = {name: corpus_of(name, TARGETS[name]) for name in names}
    while time.monotonic() < until and (most is None or min(counts.values()) < most):
        for name in names:
            seeds, target = corpora[name], TARGETS[name]
            for _ in range(target.turn if most is None else min(target.turn, most)):
                data = changed(rng.choice(seeds), seeds, rng)
                counts[name] += 1
                what = problem(target, data)
                if what is None:
                    continue
                # one input for each place that fails
                key = (name, "slow" if what.startswith("takes") else what.split(": ")[0])
                if key not in problems:
                    problems.add(key)
                    (FOUND / name).mkdir(parents=True, exist_ok=True)
                    path = FOUND / name / hashlib.sha256(data).hexdigest()[:16]
                    path.write_bytes(data)
                    log(f"FOUND {name}: {what} ({path.name})")
        if time.monotonic() - said > 60:
            said = time.monotonic()
            log(f"{sum(counts.values())} {json.dumps(counts)}")
    log(f"DONE {sum(counts.values())} executions, {len(problems)} problems {json.dumps(counts)}")
    return {**counts, "problems": len(problems)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--most", type=int, help="inputs of each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--only", nargs="*", default=list(TARGETS), choices=list(TARGETS))
    asked = parser.parse_args()

    def log(line: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)
        if asked.log:
            with asked.log.open("a") as file:
                file.write(f"{time.strftime('%H:%M:%S')} {line}\n")

    logging.disable(logging.CRITICAL)
    until = time.monotonic() + 60 * asked.minutes
    counts = fuzzed(asked.only, random.Random(asked.seed), until=until, most=asked.most, log=log)
    return 1 if counts["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
