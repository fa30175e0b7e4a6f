"""What figures were taken on, and with."""

from __future__ import annotations

import os
import platform
from typing import Any

import torch
import transformers

import edgetune


def machine() -> str:
    """`Linux, x86_64, 2 cores`."""
    return f"{platform.system()}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def versions(**others: Any) -> dict[str, str]:
    """Of what trains, and of other modules by their names."""
    parts = {"edgetune": edgetune, "torch": torch, "transformers": transformers, **others}
    return {name: str(part.__version__) for name, part in parts.items()}
