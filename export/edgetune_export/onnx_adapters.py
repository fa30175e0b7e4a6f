"""Adapters for onnxruntime's own LoraAdapter API, and the form of a decoder's graph that takes them.

An active adapter fills inputs by their names, and only inputs that have a default; it overrides what a call feeds, and
I/O binding passes it by. So the graph of the bundle, whose inputs must be fed, stays as it is, and a second one over
the same weights has keys and values of length zero by default.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from safetensors.torch import load

from edgetune.errors import UnsupportedModelError
from edgetune.methods.storage import restored
from edgetune.models.base import Base
from edgetune_export.needs import PLAIN, Needs

GRAPH = "model.adapters.onnx"
FOLDER, SUFFIX = "onnx_adapters", ".onnx_adapter"
VERSION = 1


def check_onnx_adapters(base: Base, needs: Needs, standalone: bool, is_ort: bool) -> None:
    """Raises UnsupportedModelError where there is no such form."""
    if base.kind != "decoder" or standalone or is_ort or needs != PLAIN:
        raise UnsupportedModelError(
            "--onnx-adapters is for shared decoders in the onnx format whose virtual tokens stand in front of the "
            "text, as many in every layer; leave it out"
        )


def write_onnx_adapters(folder: Path, graph: str, files: Mapping[str, bytes]) -> None:
    """The graph and every adapter's file, by name, in a bundle's folder."""
    write_defaults_graph(folder / graph)
    (folder / FOLDER).mkdir()
    for name, file in files.items():
        write_onnx_adapter(file, folder / FOLDER / f"{name}{SUFFIX}")


def write_defaults_graph(graph: Path) -> Path:
    """Beside the graph: the same over the same weights' file, its past empty unless something gives one."""
    model = onnx.load(graph, load_external_data=False)
    for value in model.graph.input:
        if value.name.startswith("past_key_values."):
            _, heads, _, size = (x.dim_value for x in value.type.tensor_type.shape.dim)
            empty = np.zeros((1, heads, 0, size), np.float32)
            model.graph.initializer.append(onnx.numpy_helper.from_array(empty, value.name))
    path = graph.with_name(GRAPH)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


def write_onnx_adapter(file: bytes, path: Path) -> Path:
    """An adapter's file of the device (BUNDLE.md), keys and values in float32, as onnxruntime reads it."""
    parameters = {}
    for name, x in restored(load(file)).items():
        both = [name.replace(".key_value", part) for part in (".key", ".value")] if "key_value" in name[-9:] else [name]
        parameters |= {each: ort.OrtValue.ortvalue_from_numpy(x.contiguous().numpy()) for each in both}
    form = ort.AdapterFormat()
    form.set_adapter_version(VERSION)
    form.set_model_version(VERSION)
    form.set_parameters(parameters)
    form.export_adapter(str(path))  # type: ignore[arg-type]  # a path is what its hint says, a text what it takes
    return path
