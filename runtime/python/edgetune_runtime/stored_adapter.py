"""An adapter on the disk: what its header says is known, its tensors are read when they are wanted."""

from __future__ import annotations

import hashlib
import mmap
import threading
from dataclasses import dataclass, field
from pathlib import Path

from .adapter import Adapter, adapter_from
from .adapter_file import header_in, mapped, read_bytes, read_header
from .adapter_metadata import AdapterMetadata
from .errors import BundleError
from .manifest import Manifest
from .results import AdapterInfo


@dataclass(frozen=True, eq=False)
class StoredAdapter:
    """One task, ready to be read. Threads may share it."""

    info: AdapterInfo
    metadata: AdapterMetadata
    path: Path
    manifest: Manifest
    sha256: str | None
    """What the file's bytes must have, in hexadecimal; None: they are not compared."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Whoever reads holds it, so that nothing is read twice at once."""

    def read(self, *, whole: bool = False) -> Adapter:
        """Its tensors: float32 ones are views of the mapped file, others are converted; `whole`: none needs the file.

        Raises BundleError if the file is not what it was when the model was loaded, AdapterError if it is gone.
        """
        if whole:
            data = read_bytes(self.path)
            self._check(data)
            return adapter_in(self.path, data, self.manifest, self.info.name)
        file, seen = read_header(self.path), mapped(self.path)
        self._check(seen)
        return adapter_from(file, file.tensors(seen), self.manifest, self.info.name)

    def _check(self, data: bytes | mmap.mmap) -> None:
        if self.sha256 is not None and hashlib.sha256(data).hexdigest() != self.sha256:
            raise BundleError(
                f"{self.path}: its SHA-256 is not the one that was known: it was altered. Copy or export it again."
            )


def stored_adapter(
    path: Path, manifest: Manifest, name: str | None = None, sha256: str | None = None, data: bytes | None = None
) -> StoredAdapter:
    """The adapter in the `.safetensors` file at `path`, called `name` or by the name in its metadata.

    The header alone is read, from `data` if those are the file's bytes, and checked: raises BaseMismatchError if the
    adapter was tuned on another base than the manifest's, and AdapterError if the file is missing, broken or of an
    unknown version, or if its task or its shapes are not those of the graph.
    """
    file = read_header(path) if data is None else header_in(path, data)
    adapter = adapter_from(file, file.hollow(), manifest, name)
    return StoredAdapter(adapter.info, adapter.metadata, path, manifest, sha256)


def read_adapter(path: Path, manifest: Manifest, name: str | None = None, sha256: str | None = None) -> Adapter:
    """As `stored_adapter`, with its tensors, in memory of their own."""
    return stored_adapter(path, manifest, name, sha256).read(whole=True)


def adapter_in(path: Path, data: bytes, manifest: Manifest, name: str | None = None) -> Adapter:
    """The adapter, with its tensors, in the bytes of a file that was read from `path`, which is not read again."""
    file = header_in(path, data)
    return adapter_from(file, file.tensors(data), manifest, name)
