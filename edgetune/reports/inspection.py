"""What is in an adapter's folder, a bundle or an adapter file of a bundle."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from edgetune.errors import AdapterError
from edgetune.reports.sizes import sized


def inspected(path: str | Path) -> dict[str, Any]:
    """Facts by name, in the order in which they are told.

    Raises:
        AdapterError: nothing of ours is there.
        edgetune_runtime.BundleError: a bundle that is damaged.
    """
    path = Path(path)
    if (path / "bundle.json").exists():
        return of_bundle(path)
    if path.suffix == ".safetensors" and path.is_file():
        return of_device_file(path)
    if (path / "adapter.json").exists():
        return of_adapter(path)
    what = "does not exist" if not path.exists() else "holds neither bundle.json nor adapter.json"
    raise AdapterError(f"{path} {what}; give the folder of a bundle or an adapter, or an adapter's .safetensors file")


def of_adapter(path: Path) -> dict[str, Any]:
    from edgetune.adapter import load_adapter

    adapter = load_adapter(path)
    return {
        "adapter": str(path),
        "task": adapter.task,
        "method": adapter.method,
        "virtual_tokens": adapter.virtual_tokens,
        **told_virtual({name: list(x.shape) for name, x in adapter.tensors.items()}),
        "parameters": adapter.parameters,
        "size_bytes": adapter.size_bytes,
        "base": f"{adapter.base_name} ({adapter.base_type})",
        "base_fingerprint": adapter.base_fingerprint,
        **({"labels": list(adapter.labels)} if adapter.labels else {}),
        **({"pooling": adapter.pooling} if "head.weight" in adapter.tensors else {}),
        **told_words(adapter),
        "tensors": {name: list(x.shape) for name, x in adapter.tensors.items()},
    }


def told_words(adapter: Any) -> dict[str, Any]:
    """The template and the tokens of each label, or how a text becomes words."""
    if adapter.label_words:
        return {"template": adapter.template, "label_words": dict(zip(adapter.labels, map(list, adapter.label_words)))}
    return {"word_split": adapter.word_split} if adapter.task == "tag" else {}


def of_device_file(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            metadata = json.loads((file.metadata() or {}).get("edgetune", "null"))
            tensors = {name: list(file.get_slice(name).get_shape()) for name in sorted(file.keys())}
    except (SafetensorError, ValueError) as error:
        raise AdapterError(f"{path} cannot be read: {error}") from error
    if not isinstance(metadata, dict):
        raise AdapterError(f"{path} is a safetensors file without edgetune's metadata")
    return {
        "adapter": str(path),
        **metadata,
        **told_virtual(tensors),
        "size_bytes": path.stat().st_size,
        "tensors": tensors,
    }


def of_bundle(path: Path) -> dict[str, Any]:
    import edgetune_runtime

    model = edgetune_runtime.load(path)
    manifest = json.loads((path / "bundle.json").read_text("utf-8"))
    base, files = manifest["base"], manifest["files"]
    return {
        "bundle": str(path),
        "form": manifest["form"],
        "task": manifest["task"],
        "precision": manifest["precision"],
        "base": f"{base['name']} ({base['model_type']}, {base['parameters']:,} parameters)",
        "base_fingerprint": base["fingerprint"],
        "max_positions": manifest["graph"]["max_positions"],
        "size_bytes": sum(entry["size_bytes"] for entry in files.values()),
        "files": {name: sized(entry["size_bytes"]) for name, entry in files.items()},
        "adapters": {name: told_adapter(info, path, manifest) for name, info in model.adapters.items()},
        "ensembles": {name: f"{x.combine} of {', '.join(x.adapters)}" for name, x in model.ensembles.items()},
        "nodes": dict(Counter(x for file in graph_files(manifest) for x in node_types(path / file)).most_common()),
    }


def graph_files(manifest: dict[str, Any]) -> list[str]:
    pair = manifest.get("encoder_decoder")
    return [*([pair["encoder_file"]] if pair else []), manifest["graph"]["file"]]


def told_adapter(info: Any, bundle: Path, manifest: dict[str, Any]) -> str:
    """One line; where virtual tokens are, if that is not all in front and alike in all layers."""
    labels = f", {len(info.labels)} {'tags' if info.task == 'tag' else 'labels'}" if info.labels else ""
    entry = manifest["adapters"].get(info.name)  # none of a standalone bundle
    where = told_virtual(of_device_file(bundle / entry["file"])["tensors"]) if entry else {}
    told = "".join(f" ({name.replace('_', ' ')}: {value})" for name, value in where.items())
    return f"{info.task}, {info.method}, {info.virtual_tokens} virtual tokens{told}{labels}, {sized(info.size_bytes)}"


def told_virtual(shapes: dict[str, list[int]]) -> dict[str, str]:
    """What an adapter's tensors say of prompts behind the text, of layers that differ and of shared keys and values.

    Shapes are `[P, E]` and `[K, P_l, D]`, with a first axis of 1 in a device file.
    """
    found: dict[str, str] = {}
    if "suffix_embeds" in shapes:
        before = shapes["prompt_embeds"][-2] if "prompt_embeds" in shapes else 0
        after = shapes["suffix_embeds"][-2]
        found["prompt_position"] = f"{before} before the text, {after} after" if before else f"{after} after the text"
    keys = [name for name in shapes if "past_key_values." in name and name.endswith((".key", ".key_value"))]
    lengths = [shapes[name][-2] for name in sorted(keys, key=lambda name: [int(x) for x in re.findall(r"\d+", name)])]
    if len(set(lengths)) > 1:
        found["prefix_lengths"] = ", ".join(map(str, lengths))
    if any(name.endswith(".key_value") for name in keys):
        found["prefix_share"] = "kv"
    return found


def node_types(path: Path) -> list[str]:
    """Operator types of the graph; its weights stay on disk."""
    if path.suffix == ".ort":
        from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs.InferenceSession import InferenceSession

        stored: Any = InferenceSession.GetRootAsInferenceSession(bytearray(path.read_bytes()), 0)
        graph = stored.Model().Graph()
        return [graph.Nodes(i).OpType().decode() for i in range(graph.NodesLength())]
    import onnx

    return [node.op_type for node in onnx.load(path, load_external_data=False).graph.node]


def table(found: dict[str, Any]) -> str:
    lines: list[str] = []
    for name, value in found.items():
        if value in ({}, [], None):
            continue
        label = name.replace("_", " ")
        if name == "size_bytes":
            lines.append(f"{'size':<18} {sized(value)} ({value:,} bytes)")
            continue
        if name == "nodes":
            label = f"{sum(value.values())} nodes"
        if isinstance(value, dict):
            lines.append(f"{label}:")
            lines += [f"  {key:<34} {entry}" for key, entry in value.items()]
        elif isinstance(value, list):
            shown = ", ".join(map(str, value[:12])) + (f" … ({len(value)})" if len(value) > 12 else "")
            lines.append(f"{label:<18} {shown}")
        else:
            lines.append(f"{label:<18} {value}")
    return "\n".join(lines)
