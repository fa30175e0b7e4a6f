"""Writing a bundle: it appears whole and verified, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx_ir
from edgetune_runtime import Ensemble
from tokenizers import Tokenizer

from edgetune.adapter import Adapter, tuned_from
from edgetune.config import Pooling, TrainConfig
from edgetune.errors import AdapterError, BaseMismatchError, ConfigError, UnsupportedModelError
from edgetune.models.base import Base
from edgetune.models.encoder_decoder import TARGET_TOKENIZER
from edgetune.models.rounding import FLOAT, Rounding, Weights, rounded, roundings
from edgetune.output import new_folder
from edgetune_export import manifest
from edgetune_export.device import checked_name, device_file, device_metadata, prefix_of
from edgetune_export.ecosystem import written_beside
from edgetune_export.ensembles import check_ensembles, described_ensembles
from edgetune_export.fold import folded_encoder_graph
from edgetune_export.fuse import forget_shapes, fused
from edgetune_export.needs import PLAIN, Needs, has_suffix, needs_of
from edgetune_export.parameters import mark_stored, name_parameters
from edgetune_export.prefix import fold_prefix
from edgetune_export.quantize import quantized
from edgetune_export.trace import decoder_graph, encoder_graph
from edgetune_export.trace_pair import pair_graphs
from edgetune_export.verify import Check, tolerance, verified

EXTERNAL_FROM_BYTES = 1024
SINGLE_FILE_BYTES = 1_800_000_000
"""Protobuf ends at 2 GB: a standalone graph above this keeps its weights beside it."""


@dataclass(frozen=True)
class Exported:
    """What an export left: the folder's files in bytes, its adapters' names and what verification saw and allowed.

    `tuned_otherwise` are adapters that were tuned against weights rounded in another way.
    """

    path: Path
    sizes: dict[str, int]
    adapters: tuple[str, ...]
    checks: list[Check]
    weights: Weights
    tolerance: float
    tuned_otherwise: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        return sum(self.sizes.values())


def export_bundle(
    base: Base,
    adapters: dict[str, Adapter],
    out: str | Path,
    *,
    standalone: bool = False,
    weights: Weights = FLOAT,
    force: bool = False,
    ensembles: Mapping[str, Ensemble] | None = None,
    task: str | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Exported:
    """Writes the bundle of a base and its adapters (by name) to `out`, checked against torch first.

    Without adapters `task` says what an encoder is for.

    Raises:
        VerificationError: ONNX Runtime and torch differ; nothing is left at `out`.
        BaseMismatchError, AdapterError, ConfigError, UnsupportedModelError, OutputExistsError: it cannot be written.
    """
    pooling = checked(base, adapters, standalone, task)
    check_ensembles(ensembles or {}, adapters, standalone)
    with new_folder(out, force=force, marker=(manifest.NAME,)) as folder, ExitStack() as stack:
        tell("tracing")
        folded, needs = None, PLAIN if standalone else needs_of(adapters.values())
        if standalone:
            ((name, adapter),) = adapters.items()
            weights = float_table(base, adapter, weights)
            graphs = {manifest.GRAPH: standalone_graph(base, adapter, weights)}
            folded = device_metadata(name, adapter)
        else:
            graphs = shared_graphs(base, pooling, needs, weights)
        tell("writing")
        for file, graph in graphs.items():
            write_graph(graph, folder / file, base, single_file=standalone)
        stack.enter_context(rounded(base, weights))  # what follows is of the weights that ship
        (folder / "tokenizer.json").write_text(tokenizer_text(base.tokenizer), encoding="utf-8")
        if manifest.has_target_tokenizer(base):
            (folder / TARGET_TOKENIZER).write_text(tokenizer_text(base.target_tokenizer), encoding="utf-8")
        if base.kind == "decoder" and needs == PLAIN:
            written_beside(folder, base, shared=not standalone)
        if not standalone:
            write_adapters(folder, base, adapters)
        description = manifest.described(
            base,
            form="standalone" if standalone else "shared",
            task=bundle_task(base, adapters, pooling),
            weights=weights,
            pooling=pooling,
            adapters=[] if standalone else list(adapters),
            folded=folded,
            needs=needs,
        )
        description.update(described_ensembles(ensembles or {}))
        (folder / manifest.NAME).write_text(manifest.manifest_text(description, folder), encoding="utf-8")
        tell("verifying")
        checks = verified(folder, base, adapters, standalone, pooling, weights)
        sizes = {p.relative_to(folder).as_posix(): p.stat().st_size for p in sorted(folder.rglob("*")) if p.is_file()}
    allowed = tolerance(base, weights)
    return Exported(Path(out), sizes, tuple(adapters), checks, weights, allowed, tuned_otherwise(adapters, weights))


def tuned_otherwise(adapters: Mapping[str, Adapter], weights: Weights) -> tuple[str, ...]:
    """Names of adapters that were tuned against weights rounded in another way; plain ones are not told."""
    same = weights.described()
    ignored = {"accuracy_level": None}
    return tuple(
        name for name, x in adapters.items() if x.tuned_for and {**x.tuned_for, **ignored} != {**same, **ignored}
    )


def bundle_task(base: Base, adapters: Mapping[str, Adapter], pooling: Pooling) -> str:
    """The first adapter's; without any what the graph is for."""
    if adapters:
        return next(iter(adapters.values())).task
    return ("tag" if pooling == "each" else "classify") if base.kind == "encoder" else "generate"


def checked(base: Base, adapters: dict[str, Adapter], standalone: bool, task: str | None = None) -> Pooling:
    """The pooling that all adapters share, after everything that can be refused before any work."""
    if standalone and base.kind == "encoder-decoder":
        raise UnsupportedModelError(
            f"{base.name!r} is an encoder-decoder; export a shared bundle, without --standalone"
        )
    if standalone and len(adapters) != 1:
        raise ConfigError(f"--standalone folds exactly one adapter into the graph; {len(adapters)} were given")
    if standalone and base.kind == "decoder" and any(map(has_suffix, adapters.values())):
        raise ConfigError(
            "--standalone cannot fold virtual tokens that stand after a decoder's text: a drop-in graph does not know "
            "where the prompt ends. Export a shared bundle, without --standalone"
        )
    if base.tokenizer is None or not hasattr(base.tokenizer, "backend_tokenizer"):
        raise UnsupportedModelError(f"{base.name!r} has no tokenizer.json; the runtime needs a fast tokenizer")
    for name, adapter in adapters.items():
        checked_name(name)
        if adapter.base_fingerprint != base.fingerprint:
            raise BaseMismatchError(
                f"adapter {name!r} was tuned on {adapter.base_name!r} ({adapter.base_fingerprint}), "
                f"but --model {base.name!r} is {base.fingerprint}"
            )
    poolings: set[Pooling] = {adapter.pooling for adapter in adapters.values()}
    if base.kind == "encoder" and len(poolings) > 1:
        named = " and ".join(map(repr, sorted(poolings, reverse=True)))
        raise AdapterError(f"adapters with pooling {named} cannot share a base graph; export them apart")
    if poolings:
        return poolings.pop()
    return "mask" if base.masked else "each" if task == "tag" else TrainConfig().pooling


def shared_graphs(base: Base, pooling: Pooling, needs: Needs, weights: Weights) -> dict[str, onnx_ir.Model]:
    """By file."""
    if base.kind == "encoder-decoder":
        traced = pair_graphs(base, needs)
    else:
        encoder = base.kind == "encoder"
        traced = {manifest.GRAPH: encoder_graph(base, pooling, needs) if encoder else decoder_graph(base, needs)}
    rounding = roundings(base, weights)
    return {file: quantized(lean(graph, base, rounding), rounding, weights) for file, graph in traced.items()}


def standalone_graph(base: Base, adapter: Adapter, weights: Weights) -> onnx_ir.Model:
    rounding = roundings(base, weights)
    if base.kind == "encoder":
        graph = lean(folded_encoder_graph(tuned_from(base, adapter)), base, rounding)
    else:
        graph = lean(decoder_graph(base), base, rounding, pack=False)
        with rounded(base, weights):
            fold_prefix(graph, prefix_of(base, adapter))
    return quantized(graph, rounding, weights)


def lean(graph: onnx_ir.Model, base: Base, rounding: Mapping[str, Rounding], *, pack: bool = True) -> onnx_ir.Model:
    """The traced graph, fused; weights that will be stored differently are not joined."""
    name_parameters(graph, base)
    mark_stored(graph, rounding)
    return fused(graph, base.max_positions, pack=pack)


def float_table(base: Base, adapter: Adapter, weights: Weights) -> Weights:
    """An encoder's folded prompt is rows of its table of embeddings, which then keeps its precision."""
    if base.kind != "encoder" or "prompt_embeds" not in adapter.tensors or not weights.rounds:
        return weights
    table: Any = base.embeddings.weight
    name = next(name for name, parameter in base.model.named_parameters() if parameter is table)
    return replace(weights, keep=((name, "fp32"), *weights.keep))


def write_graph(graph: onnx_ir.Model, path: Path, base: Base, *, single_file: bool) -> None:
    """Weights beside the graph, where runtimes map them, or inside it."""
    graph.producer_name, graph.producer_version = "edgetune", manifest.edgetune.__version__
    forget_shapes(graph)
    for node in graph.graph:
        node.metadata_props.clear()
        node.doc_string = None
    for value in list(graph.graph.initializers.values()):
        if value.name and value.name.startswith("model.") and value not in graph.graph.inputs:
            value.name = value.name.removeprefix("model.")
    if single_file and base.parameters * 4 < SINGLE_FILE_BYTES:
        onnx_ir.save(graph, path)
    else:
        onnx_ir.save(graph, path, external_data=f"{path.name}.data", size_threshold_bytes=EXTERNAL_FROM_BYTES)


def write_adapters(folder: Path, base: Base, adapters: dict[str, Adapter]) -> None:
    if adapters:
        (folder / "adapters").mkdir()
    for name, adapter in adapters.items():
        (folder / manifest.adapter_path(name)).write_bytes(device_file(name, adapter, base))


def tokenizer_text(fast: Any) -> str:
    """tokenizer.json without truncation and padding: the runtime decides on both."""
    tokenizer = Tokenizer.from_str(fast.backend_tokenizer.to_str())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer.to_str()
