"""Keys and values that a file holds as int8 with a scale for each head and token."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .errors import AdapterError

SCALE = ".scale"


def expanded(path: Path, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same tensors, each int8 one [1, K, P, D] multiplied with its scale [1, K, P, 1]; raises AdapterError."""
    scales = {name: x for name, x in tensors.items() if name.endswith(SCALE)}
    found = {name: x for name, x in tensors.items() if name not in scales}
    for name, scale in scales.items():
        values = found.get(name.removesuffix(SCALE))
        if values is None or values.dtype != np.int8 or scale.dtype != np.float32:
            raise AdapterError(f"{path}: `{name}` is no float32 scale of an int8 tensor beside it. Export it again.")
        if scale.shape != (*values.shape[:-1], 1):
            raise AdapterError(
                f"{path}: `{name}` has the shape {list(scale.shape)}, and {[*values.shape[:-1], 1]} fits its tensor."
            )
        found[name.removesuffix(SCALE)] = values * scale
    return found
