"""A short round of `benchmarks/crashes.py`: what a killed process was writing is there as it was, or as it became."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "crashes.py"


@pytest.mark.skipif(sys.platform == "win32", reason="forks and kills")
def test_processes_killed_at_random_moments_lose_nothing():
    pytest.importorskip("model_signing")
    command = [sys.executable, str(SCRIPT), "--kills", "10", "--only", "sign", "store", "chat"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "nothing was lost" in told.stdout
