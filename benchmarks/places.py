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


def size_mb(path: Path) -> float:
    """Of the weights and the graph."""
    if path.is_file():
        return path.stat().st_size / 1e6
    files = [p for p in path.rglob("*") if ".onnx" in p.name or p.suffix == ".safetensors"]
    return sum(p.stat().st_size for p in files) / 1e6
