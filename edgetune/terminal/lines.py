"""Lines that can be edited, completed and called back, with a history that outlives the program."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

MOST_LINES = 1000
"""Of the history."""


def history_path() -> Path:
    """Where the history is: in the user's folder for what programs remember."""
    if os.environ.get("XDG_STATE_HOME"):
        folder = Path(os.environ["XDG_STATE_HOME"])
    elif sys.platform == "win32":
        folder = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        folder = Path.home() / ".local" / "state"
    return folder / "edgetune" / "history"


@contextmanager
def edited_lines(
    path: Path, completions: Callable[[str], Sequence[str]], warn: Callable[[str], None]
) -> Iterator[None]:
    """Inside, `input` edits lines, calls back those of the file at `path`, and Tab offers what `completions` says.

    The argument of `completions` is the line so far. At the end the file holds the lines that were typed, for its owner
    alone; `warn` hears where it cannot. Where Python has no readline (Windows) lines are what the terminal makes them.
    """
    try:
        import readline
    except ImportError:
        yield
        return

    def offered(text: str, state: int) -> str | None:
        line = readline.get_line_buffer()[: readline.get_endidx()]
        found = [x for x in completions(line) if x.startswith(text)]
        return found[state] if state < len(found) else None

    try:
        if path.exists():
            readline.read_history_file(path)
    except OSError as error:
        warn(f"no history: {path} cannot be read ({error.strerror or error})")
    readline.set_history_length(MOST_LINES)
    readline.set_completer(offered)
    readline.set_completer_delims(" ")
    is_libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if is_libedit else "tab: complete")
    try:
        yield
    finally:
        readline.set_completer(None)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(0o600)
            readline.write_history_file(path)
        except OSError as error:
            warn(f"the history is not kept: {path} cannot be written ({error.strerror or error})")
