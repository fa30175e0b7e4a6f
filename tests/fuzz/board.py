"""What a fuzzing process shows to the one that watches it: how many inputs it took, and which one it is reading."""

from __future__ import annotations

import mmap
from pathlib import Path

COUNT, LENGTH, DATA, SIZE = slice(0, 8), slice(8, 16), 16, 1 << 20


class Board:
    """A file that both have in memory, so that it outlives a process that is ended by what it reads."""

    def __init__(self, path: Path):
        """It is made where it is not there."""
        if not path.exists():
            path.write_bytes(bytes(SIZE))
        with path.open("r+b") as file:
            self._seen = mmap.mmap(file.fileno(), SIZE)

    def begin(self, data: bytes) -> None:
        """One more is being read, this one."""
        self._seen[COUNT] = (self.executions + 1).to_bytes(8, "little")
        data = data[: SIZE - DATA]
        self._seen[LENGTH] = len(data).to_bytes(8, "little")
        self._seen[DATA : DATA + len(data)] = data

    @property
    def executions(self) -> int:
        """Inputs that were begun."""
        return int.from_bytes(self._seen[COUNT], "little")

    @property
    def current(self) -> bytes:
        """The last that was begun."""
        return self._seen[DATA : DATA + int.from_bytes(self._seen[LENGTH], "little")]
