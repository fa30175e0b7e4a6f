"""Stop strings in a text that arrives in pieces."""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Lets text through up to the first stop string, wherever the pieces were cut.

    The end of a piece that may be the beginning of a stop string is held back until it is certain.
    """

    def __init__(self, stop: Sequence[str] = ()):
        self._stop = tuple(stop)
        self._held = ""

    def push(self, piece: str) -> tuple[str, bool]:
        """The text that may go out, and whether a stop string was met: then all after it is dropped."""
        if not self._stop or not piece:
            return piece, False
        text = self._held + piece
        start = first_stop(text, self._stop)
        if start is not None:
            self._held = ""
            return text[:start], True
        hold = max(beginning_at_end(text, s) for s in self._stop)
        self._held = text[len(text) - hold :]
        return text[: len(text) - hold], False

    def end(self) -> str:
        """The text that was held back for a stop string that never came."""
        held, self._held = self._held, ""
        return held


def first_stop(text: str, stop: Sequence[str]) -> int | None:
    """Where the stop string begins that is whole first, of two that end together the longer; None: there is none.

    It is the same one however the text arrives: one that began before, and is not whole yet, nobody waits for.
    """
    found = [(start + len(s), start) for s, start in ((s, text.find(s)) for s in stop) if start >= 0]
    return min(found)[1] if found else None


def beginning_at_end(text: str, stop: str) -> int:
    """Length of the longest end of `text` with which `stop` begins; the whole of `stop` does not count."""
    for length in range(min(len(stop) - 1, len(text)), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
