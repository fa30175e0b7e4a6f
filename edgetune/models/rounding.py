"""Weights as a bundle stores them: the one place that rounds, for training, export and verification alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import torch

from edgetune.config import (
    ACCURACY_LEVEL,
    ACCURACY_LEVELS,
    BLOCK_SIZE,
    BLOCK_SIZES,
    WEIGHTS,
    WHOLE,
    TrainConfig,
)
from edgetune.errors import ConfigError
from edgetune.models.base import Base
from edgetune.models.matrices import linear_weights, names_of, position_tables

COLUMN_LEVEL = 63
"""Largest integer of a column's weights: one bit less than int8 has.

On x86 without VNNI the products of 8-bit activations and 8-bit weights are summed in pairs in 16 bits, where larger
weights overflow (onnxruntime, docs/performance/model-optimizations/quantization, "reduce range").
"""

WIDE_BLOCK = 128
"""Weights that share a scale, at least, in an encoder's table of 8 bits: smaller blocks gain nothing there."""


SLICE = 1 << 22
"""Weights that are rounded at a time."""


@dataclass(frozen=True)
class Rounding:
    """How one weight `[K, N]` is stored.

    Attributes:
        bits: 4 or 8 for integers; 16 for float16.
        block_size: rows of K that share a scale; 0: one scale for a whole column, products are of integers.
        symmetric: zero is the middle of the integers; otherwise each block has a zero point.
    """

    bits: int
    block_size: int = 0
    symmetric: bool = True


@dataclass(frozen=True)
class Stored:
    """A rounded weight: packed `[N, K / block, block · bits / 8]` uint8, or `[K, N]` int8 or float16; scales, zeros."""

    packed: np.ndarray
    scales: np.ndarray | None = None
    zero_points: np.ndarray | None = None


@dataclass(frozen=True)
class Weights:
    """How a base's weights are stored.

    Attributes:
        block_size: weights that share a scale; 0: those of a whole column, in tables of a whole row.
        keep: `(pattern, precision)`, exceptions by the names of parameters; the first that matches decides.
        accuracy_level: of MatMulNBits: 4 multiplies with activations in int8, 1 in float32.
    """

    precision: str = "fp32"
    block_size: int = BLOCK_SIZE
    symmetric: bool = True
    accuracy_level: int = ACCURACY_LEVEL
    keep: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for precision in (self.precision, *(x for _, x in self.keep)):
            if precision not in WEIGHTS:
                raise ConfigError(f"precision {precision!r} is not known; choose {' or '.join(WEIGHTS)}")
        if self.block_size not in (WHOLE, *BLOCK_SIZES):
            raise ConfigError(
                f"a block of {self.block_size} weights is not known; choose {' or '.join(map(str, BLOCK_SIZES))}, or "
                f"{WHOLE} for whole columns"
            )
        if self.block_size == WHOLE and "int4" in (self.precision, *(x for _, x in self.keep)):
            raise ConfigError(
                f"a block size of {WHOLE}, whole columns, is of int8 alone; give int4 one of {BLOCK_SIZES}"
            )
        if self.accuracy_level not in ACCURACY_LEVELS:
            raise ConfigError(f"accuracy level {self.accuracy_level} is not known; choose 1 (float32) or 4 (int8)")

    @property
    def rounds(self) -> bool:
        return self.precision != "fp32" or any(precision != "fp32" for _, precision in self.keep)

    def precision_of(self, names: tuple[str, ...]) -> str:
        """Of a parameter that goes by these names, one or, where it is shared, more."""
        matching = (p for pattern, p in self.keep if any(fnmatchcase(name, pattern) for name in names))
        return next(matching, self.precision)

    def described(self) -> dict[str, Any]:
        """As manifests and adapters hold it."""
        return {
            "precision": self.precision,
            "block_size": self.block_size,
            "symmetric": self.symmetric,
            "accuracy_level": self.accuracy_level,
            "keep": dict(self.keep),
        }


def named_keeps(given: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """`NAME=fp32`, each a pattern of parameter names and the precision that they have → pairs, in order.

    Raises:
        ConfigError: something else was given.
    """
    found = []
    for text in (part.strip() for each in given for part in each.split(",")):
        pattern, _, precision = text.partition("=")
        if not pattern or precision not in WEIGHTS:
            raise ConfigError(f"{text!r} is not NAME=PRECISION, e.g. lm_head*=fp32; known: {', '.join(WEIGHTS)}")
        found.append((pattern, precision))
    return tuple(found)


def weights_of(config: TrainConfig) -> Weights:
    """What a run tunes against."""
    return Weights(
        config.base_precision, config.base_block_size, config.base_zeros == "symmetric",
        keep=named_keeps([config.base_keep] if config.base_keep else []),
    )  # fmt: skip


def weights_from(description: Mapping[str, Any]) -> Weights:
    """What `described` gave."""
    return Weights(**{**description, "keep": tuple(description["keep"].items())}) if description else FLOAT


FLOAT = Weights()
"""As they are."""


def stored(weight: np.ndarray, rounding: Rounding) -> Stored:
    """A float32 weight `[K, N]`, rounded. Blocks are onnxruntime's own quantiser's."""
    if rounding.bits == 16:
        return Stored(weight.astype(np.float16))
    if not rounding.block_size:
        scales = np.maximum(np.abs(weight).max(0), np.finfo(np.float32).tiny) / np.float32(COLUMN_LEVEL)
        packed = np.rint(weight / scales).clip(-COLUMN_LEVEL, COLUMN_LEVEL).astype(np.int8)
        return Stored(packed, scales.astype(np.float32))
    # the functions behind onnxruntime's MatMulNBitsQuantizer, whose module sets up the process's logging when imported
    import onnxruntime.capi._pybind_state as native

    (rows, columns), size = weight.shape, rounding.block_size
    blocks = -(-rows // size)
    packed = np.zeros((columns, blocks, size * rounding.bits // 8), np.uint8)
    zeros = np.zeros((columns, -(-blocks * rounding.bits // 8)), np.uint8)
    scales = np.zeros((columns, blocks), np.float32)
    quantize: Any = getattr(native, f"quantize_matmul_{rounding.bits}bits")
    for part in slices(rows, columns):
        padded = np.zeros((blocks * size, part.stop - part.start), np.float32)
        padded[:rows] = weight[:, part]
        quantize(
            packed[part], padded, scales[part], zeros[part], size, padded.shape[1], rows, rounding.symmetric
        )  # fmt: skip
    return Stored(packed, scales, None if rounding.symmetric else zeros)


def slices(rows: int, columns: int) -> Iterator[slice]:
    """Columns of a weight `[K, N]` that are worked on at once: each is rounded by itself, and no table needs a copy."""
    step = max(1, SLICE // max(rows, 1))
    return (slice(start, min(start + step, columns)) for start in range(0, columns, step))


def restored(made: Stored, rounding: Rounding, rows: int) -> np.ndarray:
    """The float32 weight `[K, N]` that a device computes with."""
    if made.scales is None:
        return made.packed.astype(np.float32)
    if not rounding.block_size:
        return made.packed.astype(np.float32) * made.scales
    values = unpacked(made.packed, rounding.bits).astype(np.float32)
    zeros = np.float32(1 << (rounding.bits - 1))
    if made.zero_points is not None:
        zeros = unpacked(made.zero_points, rounding.bits)[:, : made.scales.shape[1], None].astype(np.float32)
    return ((values - zeros) * made.scales[:, :, None]).reshape(len(values), -1)[:, :rows].T


def unpacked(packed: np.ndarray, bits: int) -> np.ndarray:
    """Bytes `[…, n]` → the integers in them, the low half of a byte first."""
    if bits == 8:
        return packed
    return np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:-1], -1)


def roundings(base: Base, weights: Weights) -> dict[str, Rounding]:
    """The rounding of each parameter that is rounded, by its first name.

    Those are the weights of linear layers and the table of input embeddings; with fp16 every matrix. Experts, many
    matrices in one parameter, keep their precision. Products of an encoder in int8 are of integers, which is faster
    there, while its tables are in blocks; a block size of 0 makes those of any base such. An encoder's table of
    positions has 8 bits.
    """
    found: dict[str, Rounding] = {}
    if not weights.rounds:
        return found
    names, products = names_of(base.model), linear_weights(base.model)
    table: Any = base.embeddings.weight
    positions = position_tables(base.model) if base.kind == "encoder" else set()
    for name, parameter in base.model.named_parameters():
        is_table = parameter is table or id(parameter) in positions
        precision = weights.precision_of(names[id(parameter)])
        if precision == "fp16" and parameter.dim() == 2:
            found[name] = Rounding(16)
        elif precision in ("int8", "int4") and (is_table or id(parameter) in products):
            bits = 8 if precision == "int8" or id(parameter) in positions else 4
            wide = bits == 8 and base.kind == "encoder"
            if weights.block_size == WHOLE:
                found[name] = Rounding(bits)
            elif is_table:
                size = max(weights.block_size, WIDE_BLOCK) if wide else weights.block_size
                if block_size := table_block(parameter.shape[1], size):
                    found[name] = Rounding(bits, block_size, weights.symmetric)
            else:
                found[name] = Rounding(8) if wide else Rounding(bits, weights.block_size, weights.symmetric)
    return found


def table_block(width: int, block_size: int) -> int:
    """The largest block of at most `block_size` that divides a table's rows, as looking up needs; 0 if none does."""
    return max((size for size in BLOCK_SIZES if size <= block_size and width % size == 0), default=0)


@contextmanager
def rounded(base: Base, weights: Weights) -> Iterator[None]:
    """Inside, the base computes with the weights that a bundle stores; its fingerprint stays that of its own."""
    parameters = dict(base.model.named_parameters())
    kept = {name: parameters[name].data for name in roundings(base, weights)}
    try:
        for _ in each_rounded(base, weights):
            pass
        yield
    finally:
        for name, data in kept.items():
            parameters[name].data = data


def each_rounded(base: Base, weights: Weights) -> Iterator[torch.Tensor]:
    """Rounds the base's weights one by one, and yields each as it was."""
    found = roundings(base, weights)
    if not found:
        return
    _ = base.fingerprint  # of the weights as they are, before any is rounded
    products, parameters = linear_weights(base.model), dict(base.model.named_parameters())
    for name, rounding in found.items():
        parameter, old = parameters[name], parameters[name].data
        parameter.data = rounded_weight(old, rounding, products.get(id(parameter), False))
        yield old


def rounded_weight(weight: torch.Tensor, rounding: Rounding, rows_first: bool) -> torch.Tensor:
    """A weight `[N, K]`, with `rows_first` `[K, N]`, as it comes back from a bundle."""
    if rounding.bits == 16:
        return weight.half().float()
    array = weight.detach().cpu().numpy()
    array = array if rows_first else array.T
    back = torch.empty(weight.shape)
    into = back.numpy() if rows_first else back.numpy().T
    for part in slices(*array.shape):
        columns = array[:, part]
        into[:, part] = restored(stored(columns, rounding), rounding, array.shape[0])
    return back.to(weight.device)
