"""What ends a call from outside of its texts: the time that it may take, and its caller's wish."""

from __future__ import annotations

import time

from .options import Options
from .results import FinishReason


class Limits:
    """Asked before each run of the graph; a run that has begun is not broken off."""

    def __init__(self, options: Options, started: float):
        """`started` is when the call began, in `time.perf_counter` seconds."""
        self._cancel = options.cancel
        self._end = None if options.max_time_s is None else started + options.max_time_s

    def reason(self) -> FinishReason | None:
        """Why no further run may begin; None: it may."""
        if self._cancel is not None and self._cancel.is_set():
            return "cancelled"
        if self._end is not None and time.perf_counter() >= self._end:
            return "time"
        return None
