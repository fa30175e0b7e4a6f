"""Whether a memory limit is kept: the longest text and the widest batch that a limit leaves, each in a fresh process.

    python benchmarks/memory.py BUNDLE [--limits 200 400]

Prints what `load(memory_limit=)` decided and the most that the process grew by from before the call of `load` until all
was done, the imports not counted. Limits are in MB; without any: what the bundle needs for 25, 50 and 100 % of its
context.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

MB = 1e6
TURN = """
import sys
import edgetune_runtime, numpy as np
import edgetune_runtime.loading, tokenizers
def status(key):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(key)) * 1024
before = status("VmRSS")
path, limit = sys.argv[1], int(sys.argv[2])
try:
    model = edgetune_runtime.load(path, memory_limit=limit or None)
except edgetune_runtime.MemoryLimitError:
    print("refused")
    raise SystemExit
rows = 16
if model.kind == "encoder":
    room = model.max_positions - model.adapters[model.default_adapter].virtual_tokens
    model.classify([list(range(100, 100 + room))] * 32)
else:
    name = model.default_adapter
    room = model.max_positions - 8 - (model.adapters[name].virtual_tokens if name else 0)
    ids = [100 + i % 50 for i in range(room)]
    model.generate(ids, adapter=name, max_new_tokens=8, min_new_tokens=8)
    if limit:
        model.generate([ids] * 4, adapter=name, max_new_tokens=8, min_new_tokens=8)
print(model.max_positions, status("VmHWM") - before)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--limits", type=float, nargs="*", default=[], help="MB")
    given = parser.parse_args()
    from edgetune_runtime.manifest import read_manifest
    from edgetune_runtime.memory import planned_memory

    memory = planned_memory(read_manifest(given.bundle))
    longest = memory.max_positions or 4096
    shares = [int(memory.fixed_bytes + memory.run_bytes(int(longest * share))) for share in (0.25, 0.5, 1)]
    limits = [int(x * MB) for x in given.limits] or [memory.fixed_bytes, *shares]
    print(
        f"{given.bundle.name}: fixed {memory.fixed_bytes / MB:.0f} MB, a position of cache {memory.cache_bytes} bytes"
    )
    print("| limit, MB | context | grew by at most, MB |\n| --- | --- | --- |")
    for limit in limits:
        command = [sys.executable, "-c", TURN, str(given.bundle), str(limit)]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        grown = f"{told[0]} | {int(told[1]) / MB:.0f}" if len(told) > 1 else "refused |"
        print(f"| {limit / MB:.0f} | {grown} |", flush=True)


if __name__ == "__main__":
    main()
