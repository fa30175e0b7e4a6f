"""Where the models and data that are not part of the project lie."""

from __future__ import annotations

from pathlib import Path

SHARED = Path(__file__).resolve().parents[2] / "shared"


def shared(name: str, root: Path = SHARED) -> Path:
    """A path below the shared folder; ends the script in one line where it is absent."""
    path = root / name
    if not path.exists():
        raise SystemExit(f"{path} is absent: this benchmark needs it (--shared names another folder)")
    return path
