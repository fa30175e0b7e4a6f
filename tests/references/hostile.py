"""Files that runtimes of every language must refuse, as `tests/golden/hostile.json` holds them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HOSTILE: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "golden" / "hostile.json").read_text("utf-8")
)


def text_of(parts: Any) -> str:
    """A string, or parts of one, some of them often."""
    if isinstance(parts, str):
        return parts
    return "".join(x if isinstance(x, str) else x[0] * x[1] for x in parts)


def adapter_of(made: dict[str, Any]) -> bytes:
    """The bytes of an adapter's file."""
    if made["header"] is None:
        return b""
    header = text_of(made["header"]).encode()
    length = len(header) if made["length"] is None else int(made["length"])
    return length.to_bytes(8, "little") + header + bytes(made["zeros"])
