"""Fuzzes every reader by every engine, each in a process of its own.

python tests/fuzz/run.py --minutes 30 --log fuzz.log

The engines are `mutations` and `hypothesis` (see `engines.py`) and, where it is installed, atheris (`guided.py`). The
time is shared out among readers and engines, more of it where an input takes longer; the log has a line for each of
them, and at the end a table of all executions. An input that ends a process, keeps it for twenty seconds, lets it grow
beyond a gigabyte, takes a second, or after which something else than one of our errors comes, is kept in
`tests/fuzz/found/`, and the exit code is 1.

python tests/fuzz/run.py --keep         of what atheris found, what reaches the most code, into `tests/fuzz/corpus/`
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
from board import Board  # noqa: E402
from feeding import HERE, kept  # noqa: E402
from targets import TARGETS  # noqa: E402

NEW = HERE.parents[1] / "build" / "fuzz"
"""What atheris finds: a folder for each reader."""
SHARES = {"atheris": 3, "hypothesis": 2, "mutations": 2}
SLOW = {"chat_template": 3, "tokenizer": 3, "text": 2, "archive": 2}
"""Readers that need more time than others for as many inputs."""
HANGS_S, WAITS_S, MOST_BYTES = 20, 300, 1 << 30
"""Of the processor's time, and of the clock's, for one input."""
Log = Callable[[str], None]


@dataclass(frozen=True)
class Fed:
    """What one engine did with one reader."""

    engine: str
    reader: str
    executions: int
    seconds: float
    problems: tuple[str, ...]


def command_of(engine: str, reader: str, board: Path, seconds: float, seed: int) -> list[str]:
    """The process that feeds the reader."""
    if engine == "atheris":
        options = [f"-max_total_time={max(round(seconds), 1)}", f"-seed={seed + 1}", "-rss_limit_mb=0", "-verbosity=0"]
        return [sys.executable, str(HERE / "guided.py"), reader, str(board), str(NEW / reader), *options]
    given = ["--seconds", f"{seconds:.1f}", "--seed", str(seed), "--board", str(board)]
    return [sys.executable, str(HERE / "engines.py"), engine, reader, *given]


def taken(pid: int) -> tuple[float, int]:
    """Seconds of the processor, and bytes of memory, that a process has taken; 0 where the system does not say."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK"), 4096 * int(after_name[21])
    except (OSError, ValueError, IndexError):
        return 0.0, 0


def ended(process: subprocess.Popen[bytes], board: Board) -> str | None:
    """Waits for the end of a process that is fed; why it is not well, if it is not."""
    seen, since, before_s = -1, time.monotonic(), 0.0
    while process.poll() is None:
        time.sleep(0.2)
        took_s, size_bytes = taken(process.pid)
        if board.executions != seen:
            seen, since, before_s = board.executions, time.monotonic(), took_s
        what = None
        if took_s - before_s > HANGS_S or time.monotonic() - since > WAITS_S:
            what = "hangs"
        if size_bytes > MOST_BYTES:
            what = "takes a gigabyte"
        if what is not None:
            process.kill()
            process.wait()
            return what
    return None if process.returncode == 0 else f"ends the process with {process.returncode}"


def fed(engine: str, reader: str, seconds: float, seed: int, folder: Path) -> Fed:
    """One engine's turn with one reader, begun anew where a process did not come to its end."""
    path, problems, began = folder / f"{engine}-{reader}", [], time.monotonic()
    board = Board(path)
    for again in range(5):
        left = seconds - (time.monotonic() - began)
        if again and left < 1:
            break
        with (folder / "said").open("w+b") as said, (folder / "noise").open("w+b") as noise:
            process = subprocess.Popen(command_of(engine, reader, path, left, seed + again), stdout=said, stderr=noise)
            what = ended(process, board)
            said.seek(0)
            problems += said.read().decode("utf-8", "replace").splitlines()
            if what is None:
                break
            noise.seek(0)
            last = noise.read().decode("utf-8", "replace").splitlines()[-1:]
            problems.append(f"{what} ({kept(reader, board.current).name}) {''.join(last)[:200]}")
    return Fed(engine, reader, board.executions, time.monotonic() - began, tuple(problems))


def turns(engines: list[str], readers: list[str], minutes: float) -> list[tuple[str, str, float]]:
    """Who feeds whom for how many seconds."""
    weights = {(e, r): SHARES[e] * SLOW.get(r, 1) for r in readers for e in engines}
    return [(e, r, 60 * minutes * x / sum(weights.values())) for (e, r), x in weights.items()]


def table_of(done: list[Fed]) -> list[str]:
    """Executions of each reader by each engine."""
    engines = list(dict.fromkeys(x.engine for x in done))
    counts = {(x.engine, x.reader): x.executions for x in done}
    rows = [["reader", *engines, "all"]]
    for reader in dict.fromkeys(x.reader for x in done):
        each = [counts.get((engine, reader), 0) for engine in engines]
        rows.append([reader, *(f"{n:,}" for n in (*each, sum(each)))])
    sums = [sum(x.executions for x in done if x.engine == engine) for engine in engines]
    rows.append(["all", *(f"{n:,}" for n in (*sums, sum(sums)))])
    return ["".join(f"{x:>14}" for x in row) for row in rows]


def executions_of(log: str) -> int:
    """Of all runs that a log tells of, those that were broken off too."""
    return sum(int(found) for found in re.findall(r": (\d+) executions in ", log))


def keep() -> None:
    """The corpus is what it was and what adds to the code that it reaches."""
    from keeping import keep_new

    logging.disable(logging.CRITICAL)
    for reader in TARGETS:
        print(f"{reader}: {keep_new(reader, NEW / reader)} added")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--only", nargs="*", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--engines", nargs="*", choices=list(SHARES))
    parser.add_argument("--keep", action="store_true", help="nothing is fuzzed")
    asked = parser.parse_args()
    if asked.keep:
        keep()
        return 0

    def log(line: str) -> None:
        print(line, flush=True)
        if asked.log:
            with asked.log.open("a") as file:
                file.write(line + "\n")

    engines = asked.engines or [x for x in SHARES if x != "atheris" or importlib.util.find_spec("atheris")]
    log(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {asked.minutes:g} minutes, seed {asked.seed}, by {', '.join(engines)}")
    if "atheris" not in engines:
        log("atheris is not installed: `pip install atheris` for inputs that are led to new code")
    done: list[Fed] = []
    with tempfile.TemporaryDirectory(prefix="edgetune-fuzzing-") as folder:
        for engine, reader, seconds in turns(engines, asked.only, asked.minutes):
            x = fed(engine, reader, seconds, asked.seed, Path(folder))
            done.append(x)
            log(f"{time.strftime('%H:%M:%S')} {reader} by {engine}: {x.executions} executions in {x.seconds:.0f} s")
            for problem in x.problems:
                log(f"  FOUND {problem}")
    log("\n".join(["", "executions", *table_of(done)]))
    total, problems = sum(x.executions for x in done), sum(len(x.problems) for x in done)
    log(f"DONE {total} executions, {problems} problems")
    if asked.log:
        log(f"all runs of this log: {executions_of(asked.log.read_text())} executions")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
