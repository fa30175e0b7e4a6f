"""Which files beside it an ONNX graph takes its weights from: read off its protobuf, without the onnx package."""

from __future__ import annotations

import mmap
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from .errors import BundleError
from .manifest import FILE_NAME, Manifest

INSIDE = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
"""Of each message the fields that are messages with a tensor somewhere in them (onnx.proto)."""
DEEPEST = 64
VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5


def check_external_data(path: Path, manifest: Manifest, folder: Path) -> None:
    """The graph takes weights from files of the manifest alone, whose hashes are known; raises BundleError."""
    if path.suffix != ".onnx":
        return  # ONNX Runtime's own format has them inside
    beside = PurePosixPath(path.relative_to(folder).parent.as_posix())
    try:
        found = external_files(path)
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path}: is no whole ONNX graph ({error}). Copy or export the bundle again.") from None
    for name in sorted(found):
        check_listed(path, name, str(beside / name), manifest.files)


def check_listed(path: Path, name: str, listed: str, files: Collection[str]) -> None:
    """Raises BundleError for a file that the manifest does not list."""
    if listed not in files:
        raise BundleError(
            f"{path}: takes weights from {name!r}, which {FILE_NAME} does not list. Do not use this bundle unless you "
            "made it; export it again."
        )


def external_files(path: Path) -> set[str]:
    """The locations of its tensors' data; raises ValueError for what is no protobuf, OSError."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data.find(b"location") < 0:
            return set()
        with memoryview(data) as view:
            return set(locations(view, 0, len(view), "model", 0))


def locations(data: memoryview, at: int, end: int, kind: str, depth: int) -> Iterator[str]:
    """Of the tensors of one message that stands from `at` to `end`."""
    if depth > DEEPEST:
        raise ValueError("it is nested too deep")
    inside = INSIDE[kind]
    for field, start, stop in fields(data, at, end):
        inner = inside.get(field)
        if inner == "entry":
            said = {number: bytes(data[a:b]) for number, a, b in fields(data, start, stop)}
            if said.get(1) == b"location":
                yield said.get(2, b"").decode("utf-8")
        elif inner is not None:
            yield from locations(data, start, stop, inner, depth + 1)


def fields(data: memoryview, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Of a message its fields that have a length: number, first byte and the one behind the last."""
    while at < end:
        key, at = varint(data, at, end)
        wire = key & 7
        if wire == VARINT:
            _, at = varint(data, at, end)
        elif wire == LENGTH:
            length, at = varint(data, at, end)
            if length > end - at:
                raise ValueError("a part of it is longer than the file")
            yield key >> 3, at, at + length
            at += length
        elif wire in (EIGHT_BYTES, FOUR_BYTES):
            at += 8 if wire == EIGHT_BYTES else 4
        else:
            raise ValueError(f"it has a part of the kind {wire}")
    if at != end:
        raise ValueError("a part of it is cut off")


def varint(data: memoryview, at: int, end: int) -> tuple[int, int]:
    """A number of seven bits a byte, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            break
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & (2**64 - 1), at
    raise ValueError("a number of it is cut off")
