"""What a fresh process waits for: imports, loading MiniLM with its first answer, and the memory that it then has.

    python benchmarks/startup.py [--bundle BUNDLE …] [--rounds 9] [--threads 2]

Every figure is the median over processes of their own, all kinds in turn, beside the time of processors, which other
work on the machine counts little into. "import" is from the statement on, files in the system's cache, bytecode too:
onnxruntime, the package, and the package with what `load` needs. "load" includes every file's SHA-256; "first" is a
classification of one short text, or eight tokens behind it; "later" the median of twenty more. With `warm_up()`
between loading and the first text, or with `verify=False`, it is told again. Memory is the process's resident set when
all is done, Python's and onnxruntime's own included: anonymous pages and mapped files, weights among them, as Linux
counts them. `--bundle` measures other bundles; without it MiniLM-L6, fp32 and int8, with a prefix of ten tokens and 77
labels, made once into `--folder`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from places import size_mb

IMPORTS = {
    "onnxruntime": "import onnxruntime",
    "edgetune_runtime": "import edgetune_runtime",
    "edgetune_runtime with load": "import edgetune_runtime; edgetune_runtime.load",
}
IMPORT = """
import time
start, used = time.perf_counter(), time.process_time()
{statement}
print(time.perf_counter() - start, time.process_time() - used)
"""
ANSWER = """
import json, statistics, sys, time
from pathlib import Path

import edgetune_runtime

bundle, options, warm = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3] == "warm"
edgetune_runtime.load
start, used = time.perf_counter(), time.process_time()
model = edgetune_runtime.load(bundle, **options)
loaded = time.perf_counter()
if warm:
    model.warm_up()
warmed = time.perf_counter()


def answer():
    begun = time.perf_counter()
    if model.kind == "encoder":
        model.classify("I would like to have a new card, please")
    else:
        model.generate("I would like to have", max_new_tokens=8, min_new_tokens=8)
    return time.perf_counter() - begun


first = answer()
cpu = time.process_time() - used
later = statistics.median(answer() for _ in range(20))
status = Path("/proc/self/status")
lines = status.read_text().splitlines() if status.exists() else []
sizes = {line.split(":")[0]: int(line.split()[1]) / 1e3 for line in lines if line.startswith(("VmHWM", "VmRSS", "Rss"))}
times = {"load": loaded - start, "warm": warmed - loaded, "first": first, "later": later, "cpu": cpu}
print(json.dumps({**times, **sizes}))
"""
WAYS = {
    "as it is": ({}, "cold"),
    "with warm_up": ({}, "warm"),
    "verify=False": ({"verify": False}, "cold"),
}

COLUMNS = (
    "load, s", "warm_up, s", "first, ms", "load to first, s", "of processors, s", "later, ms",
    "resident, MB", "− weights", "anonymous", "mapped", "peak",
)  # fmt: skip


def fresh(code: str, *arguments: str) -> str:
    """What a new interpreter prints last; it may keep bytecode, as an installed package has it."""
    env = {name: x for name, x in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=env)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout.splitlines()[-1]


def bundles_of(given: argparse.Namespace) -> dict[str, Path]:
    if given.bundle:
        return {path.name: path for path in given.bundle}
    from artefacts import Artefacts, Pythons
    from random_tasks import classifier

    made = Artefacts(given.folder, Pythons(sys.executable, sys.executable))
    return {f"MiniLM {precision}": classifier(made, precision) for precision in ("fp32", "int8")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, nargs="+")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/edgetune-tasks"), help="where bundles are kept")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    bundles = bundles_of(given)
    imports: dict[str, list[tuple[float, ...]]] = {name: [] for name in IMPORTS}
    answers: dict[tuple[str, str], list[dict[str, float]]] = {(b, way): [] for b in bundles for way in WAYS}
    load = os.getloadavg()[0]
    for statement in IMPORTS.values():  # compiles what no one has compiled yet
        fresh(IMPORT.format(statement=statement))
    for _ in range(given.rounds):
        for name, statement in IMPORTS.items():
            imports[name].append(tuple(map(float, fresh(IMPORT.format(statement=statement)).split())))
        for (name, way), found in answers.items():
            options, warm = WAYS[way]
            told = json.dumps({"threads": given.threads, **options})
            found.append(json.loads(fresh(ANSWER, str(bundles[name]), told, warm)))
    print(f"medians of {given.rounds} processes, {given.threads} threads; load before: {load:.1f}\n")
    taken = {name: [statistics.median(x) for x in zip(*both)] for name, both in imports.items()}
    for name, (seconds, cpu) in taken.items():
        print(f"import {name:<28} {seconds:.3f} s, {cpu:.3f} s of a processor")
    more = [a - b for a, b in zip(taken["edgetune_runtime with load"], taken["onnxruntime"])]
    print(f"{'more than onnxruntime':<35} {more[0]:.3f} s, {more[1]:.3f} s of a processor\n")
    print("| | " + " | ".join(COLUMNS) + " |\n" + "| --- " * (len(COLUMNS) + 1) + "|")
    for (name, way), found in answers.items():
        m = {key: statistics.median(x[key] for x in found) for key in found[0]}
        weights = size_mb(bundles[name])
        memory = [m["VmRSS"], m["VmRSS"] - weights, m["RssAnon"], m["RssFile"], m["VmHWM"]] if "VmRSS" in m else []
        print(
            f"| {name}, {way} | {m['load']:.3f} | {m['warm']:.3f} | {m['first'] * 1e3:.1f} | "
            f"{m['load'] + m['warm'] + m['first']:.3f} | {m['cpu']:.3f} | {m['later'] * 1e3:.1f} | "
            + " | ".join(f"{x:.1f}" for x in memory) + " |"
        )  # fmt: skip


if __name__ == "__main__":
    main()
