"""What the machine can do, and what this process has of it."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

PAGE_FILE = Path("/proc/self/statm")


def bandwidth_gb_s(size_mb: int = 512, rounds: int = 5) -> float:
    """Best read bandwidth of this machine, all cores: the sum over an array that no cache holds."""
    import torch

    array = torch.ones(size_mb * 2**18)
    best = 0.0
    for _ in range(rounds):
        start = time.perf_counter()
        array.sum()
        best = max(best, array.nbytes / (time.perf_counter() - start) / 1e9)
    return best


def resident_bytes() -> int:
    """Memory of this process that is in RAM now; where the system does not say, the most that it ever was."""
    if PAGE_FILE.exists():
        return int(PAGE_FILE.read_text().split()[1]) * resource.getpagesize()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
