"""One more adapter for a bundle that exists: the base graph is not touched."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import edgetune_runtime
from edgetune_runtime.verification import check_files

from edgetune.adapter import Adapter
from edgetune.errors import AdapterError, ConfigError
from edgetune.models.base import Base
from edgetune.models.rounding import rounded, weights_from
from edgetune.output import write_atomic
from edgetune_export import manifest
from edgetune_export.device import checked_name, device_file


def needs_base(adapter: Adapter) -> bool:
    """A decoder's prompt becomes keys and values, which only its base can compute."""
    return "prompt_embeds" in adapter.tensors and "head.weight" not in adapter.tensors


def add_adapter(
    bundle: str | Path,
    name: str,
    adapter: Adapter,
    base: Base | None = None,
    *,
    force: bool = False,
    version: int | None = None,
) -> Path:
    """The adapter's file in the bundle. A bundle that cannot take it is left as it was.

    Raises:
        edgetune_runtime.BundleError: no whole bundle is there.
        edgetune_runtime.AdapterError: the adapter is for another base, or its shapes do not fit.
        AdapterError: the name is taken and `force` is false, or not fit for a file.
        ConfigError: the bundle is standalone.
    """
    bundle = Path(bundle)
    checked_name(name)
    model = edgetune_runtime.load(bundle)
    description = json.loads((bundle / manifest.NAME).read_text("utf-8"))
    if description["form"] != "shared":
        raise ConfigError(f"{bundle} is a standalone bundle: its adapter is part of the graph. Export a shared one")
    if name in description["adapters"] and not force:
        raise AdapterError(
            f"{bundle} already has an adapter named {name!r}; --force replaces it, --name adds it beside"
        )
    path = bundle / manifest.adapter_path(name)
    # loading leaves adapters unread; an altered one is not to be taken along, but --force may replace it
    others = {*model.manifest.adapters.values()} - {manifest.adapter_path(name)}
    check_files(bundle, {file: model.manifest.files[file] for file in others})
    if base is None:
        data = device_file(name, adapter, None, version)
    else:
        with rounded(base, weights_from(description.get("weights", {}))):
            data = device_file(name, adapter, base, version)
    accepted(model, name, data, bundle)
    path.parent.mkdir(exist_ok=True)
    with restored_on_failure(path), restored_on_failure(bundle / manifest.NAME):
        write_atomic(path, data)
        description["adapters"][name] = {"file": manifest.adapter_path(name)}
        description["default_adapter"] = description["default_adapter"] or name
        description["files"][manifest.adapter_path(name)] = manifest.file_entry(path)
        write_atomic(bundle / manifest.NAME, json.dumps(description, indent=2, ensure_ascii=False) + "\n")
    return path


@contextmanager
def restored_on_failure(path: Path) -> Iterator[None]:
    """When the block fails, the file is what it was, by a rename: a full disk has no room to write it anew."""
    aside, existed = path.with_name(f".{path.name}.old"), path.exists()
    try:
        if existed:
            shutil.copy2(path, aside)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    try:
        yield
    except BaseException:
        os.replace(aside, path) if existed else path.unlink(missing_ok=True)
        raise
    aside.unlink(missing_ok=True)


def accepted(model: edgetune_runtime.Model, name: str, data: bytes, bundle: Path) -> None:
    """The runtime takes the file before the bundle does."""
    candidate = bundle / f".{name}.candidate"
    try:
        candidate.write_bytes(data)
        model.add_adapter(candidate, name, replace=True)
    finally:
        candidate.unlink(missing_ok=True)
