"""An adapter's safetensors file: its header, read alone, and its tensors, mapped or read when they are wanted."""

from __future__ import annotations

import mmap
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize, safe_open

from .adapter_metadata import AdapterMetadata, metadata_from
from .checked import Fields
from .errors import AdapterError
from .json_text import MOST_BYTES, json_from
from .scaled_tensors import check_scales, expanded

METADATA_KEY = "edgetune"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""An adapter's, where it names a file: safe on every system."""
NOT_WHOLE = "is not a whole safetensors file of numbers"
LENGTH_BYTES = 8
"""The header's length stands in front of it."""
DTYPES = {"F32": "<f4", "F16": "<f2", "I8": "|i1", "F64": "<f8", "I64": "<i8", "I32": "<i4", "U8": "|u1", "BOOL": "|b1"}
"""Of the numbers that numpy knows, by their names in a header; any other is refused by name."""


@dataclass(frozen=True)
class Place:
    """Where one tensor lies in the file."""

    kind: str
    """Its number type by the header's name."""
    shape: tuple[int, ...]
    start: int
    """Its first byte in the file."""


@dataclass(frozen=True, eq=False)
class AdapterTensors:
    """The tensors of one file by name: real ones, or hollow ones, which have a shape and a type and no memory."""

    path: Path
    by_name: Mapping[str, np.ndarray]
    hollow: bool

    def taken(self, name: str, shape: tuple[int | None, ...], required: bool = True) -> Any:
        """The tensor, contiguous, float32 or float16, after its shape is checked; None stands for any length.

        It is not copied. One that is absent is None, or an AdapterError where it is `required`.
        """
        if name not in self.by_name:
            if not required:
                return None
            raise AdapterError(f"{self.path}: lacks the tensor `{name}`. Export the adapter again.")
        tensor = self.by_name[name]
        if tensor.dtype not in (np.float32, np.float16):
            raise AdapterError(
                f"{self.path}: `{name}` is {tensor.dtype}, and float32 or float16 is read. Export it again."
            )
        if tensor.ndim != len(shape) or any(want not in (None, have) for want, have in zip(shape, tensor.shape)):
            wanted = ", ".join("any" if n is None else str(n) for n in shape)
            raise AdapterError(
                f"{self.path}: `{name}` has the shape {list(tensor.shape)}, and [{wanted}] fits this base and its "
                "labels."
            )
        if self.hollow:
            return tensor
        if not np.isfinite(tensor).all():
            raise AdapterError(f"{self.path}: `{name}` holds infinity or what is no number. Tune and export it again.")
        return np.ascontiguousarray(tensor)


@dataclass(frozen=True, eq=False)
class AdapterFile:
    """The header of an adapter's file."""

    path: Path
    metadata: AdapterMetadata
    places: Mapping[str, Place]
    size_bytes: int

    def hollow(self) -> AdapterTensors:
        """Shapes and types alone, int8 tensors as they are once their scales are applied; raises AdapterError."""
        shells = {name: shell(np.dtype(DTYPES[x.kind]), x.shape) for name, x in self.places.items()}
        scales = check_scales(self.path, shells)
        scaled = {scale.removesuffix(".scale") for scale in scales}
        wide = {name: shell(np.dtype(np.float32), shells[name].shape) for name in scaled}
        rest = {name: x for name, x in shells.items() if name not in scales}
        return AdapterTensors(self.path, {**rest, **wide}, hollow=True)

    def tensors(self, data: bytes | mmap.mmap) -> AdapterTensors:
        """The tensors in the file's bytes: views of them, which keep them; int8 ones multiplied with their scales."""
        found = {name: np.ndarray(x.shape, DTYPES[x.kind], data, x.start) for name, x in self.places.items()}
        return AdapterTensors(self.path, expanded(self.path, found), hollow=False)


def shell(dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """An array of that type and shape without memory of its own: one number, seen everywhere."""
    return np.broadcast_to(np.zeros((), dtype), shape)


def read_header(path: Path) -> AdapterFile:
    """The header of the file at `path`; no tensor is read. Raises AdapterError if it is no adapter of this version."""
    check_file(path)
    try:
        with path.open("rb") as file:
            length = header_bytes(file.read(LENGTH_BYTES))
            with safe_open(str(path), framework="np"):  # checks that header and tensors fill the file
                pass
            header = json_from(file.read(length))
        size_bytes = path.stat().st_size
    except (SafetensorError, OSError, ValueError) as error:
        raise AdapterError(f"{path}: {NOT_WHOLE} ({error}). Copy it again.") from None
    return file_of(path, header, length, size_bytes)


def header_in(path: Path, data: bytes) -> AdapterFile:
    """The header in the bytes of a file that was read from `path`, which is not read again; raises as `read_header`."""
    try:
        length = header_bytes(data[:LENGTH_BYTES])
        deserialize(data)  # checks that header and tensors fill the bytes
        header = json_from(data[LENGTH_BYTES : LENGTH_BYTES + length])
    except (SafetensorError, ValueError) as error:
        raise AdapterError(f"{path}: {NOT_WHOLE} ({error}). Copy it again.") from None
    return file_of(path, header, length, len(data))


def read_bytes(path: Path) -> bytes:
    """All of the file at `path`; raises AdapterError if it is none or cannot be read."""
    check_file(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise AdapterError(f"{path}: cannot be read ({error}). Copy it again.") from None


def check_file(path: Path) -> None:
    """Raises AdapterError for what is no file: a pipe would keep whoever opens it."""
    if not path.is_file():
        raise AdapterError(f"{path}: no such file. Pass the path of one adapter's .safetensors.")


def header_bytes(front: bytes) -> int:
    """The header's length, from the bytes in front of it; raises ValueError for more than a header has."""
    length = int.from_bytes(front, "little")
    if length > MOST_BYTES:
        raise ValueError(f"its header would have {length} bytes")
    return length


def file_of(path: Path, header: dict[str, Any], length: int, size_bytes: int) -> AdapterFile:
    """What a header of so many bytes says; raises AdapterError."""
    text = (header.pop("__metadata__", None) or {}).get(METADATA_KEY)
    places = {}
    for name, entry in header.items():
        kind = entry["dtype"]
        if kind not in DTYPES:
            raise AdapterError(f"{path}: `{name}` is {kind}, and float32 or float16 is read. Export it again.")
        places[name] = Place(kind, tuple(entry["shape"]), LENGTH_BYTES + length + entry["data_offsets"][0])
    return AdapterFile(path, metadata_of(path, text), places, size_bytes)


def metadata_of(path: Path, text: str | None) -> AdapterMetadata:
    """What the header's text says of the adapter; raises AdapterError."""
    if text is None:
        raise AdapterError(
            f"{path}: has no `{METADATA_KEY}` metadata, so it is no adapter of edgetune. Export it with edgetune."
        )
    try:
        data = json_from(text)
    except ValueError as error:
        raise AdapterError(f"{path}: its `{METADATA_KEY}` metadata is not JSON ({error}). Export it again.") from None
    if not isinstance(data, dict):
        raise AdapterError(f"{path}: its `{METADATA_KEY}` metadata is not an object. Export it again.")
    return metadata_from(Fields(data, f"{path}: {METADATA_KEY}", AdapterError))


def mapped(path: Path) -> mmap.mmap:
    """The file's bytes, mapped read-only; raises AdapterError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise AdapterError(f"{path}: cannot be read ({error}). Copy it again.") from None
