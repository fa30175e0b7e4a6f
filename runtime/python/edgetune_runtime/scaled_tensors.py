"""Keys and values that a file holds as int8 with a scale for each head and token."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .errors import AdapterError

SCALE = ".scale"


def check_scales(path: Path, tensors: Mapping[str, np.ndarray]) -> set[str]:
    """The names of the scales; raises AdapterError for one that is not of an int8 tensor [1, K, P, D] beside it."""
    scales = {name for name in tensors if name.endswith(SCALE)}
    for name in scales:
        scale, values = tensors[name], tensors.get(name.removesuffix(SCALE))
        if values is None or values.dtype != np.int8 or scale.dtype != np.float32:
            raise AdapterError(f"{path}: `{name}` is no float32 scale of an int8 tensor beside it. Export it again.")
        if scale.shape != (*values.shape[:-1], 1):
            raise AdapterError(
                f"{path}: `{name}` has the shape {list(scale.shape)}, and {[*values.shape[:-1], 1]} fits its tensor."
            )
    return scales


def expanded(path: Path, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same tensors, each int8 one [1, K, P, D] multiplied with its scale [1, K, P, 1]; raises AdapterError."""
    scales = check_scales(path, tensors)
    found = {name: x for name, x in tensors.items() if name not in scales}
    for name in scales:
        found[name.removesuffix(SCALE)] = tensors[name.removesuffix(SCALE)] * tensors[name]
    return found
