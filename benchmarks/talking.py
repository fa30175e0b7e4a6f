"""A process that measures when it is asked: a line on its standard input, an answer in JSON on a line of its output."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Talking:
    """An engine in a process of its own, which says its version first.

    Attributes:
        turns: what was measured of the prompt and of the steps, a pair a turn.
    """

    name: str
    size_mb: float
    process: subprocess.Popen[str]
    version: str = field(init=False)
    turns: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.version = str(self.answer())

    def ask(self, line: str = "") -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended with {self.process.wait()}; what it said is above")
        return json.loads(line)
