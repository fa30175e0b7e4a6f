"""Writing a bundle: it appears whole and verified, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from edgetune_runtime import Ensemble

from edgetune.adapter import Adapter
from edgetune.config import Pooling, TrainConfig
from edgetune.errors import AdapterError, BaseMismatchError, ConfigError, UnsupportedModelError
from edgetune.models.base import Base
from edgetune.models.encoder_decoder import TARGET_TOKENIZER
from edgetune.models.rounding import FLOAT, Weights, rounded
from edgetune.models.spending import let_go, round_for_good
from edgetune.output import new_folder
from edgetune_export import manifest
from edgetune_export.device import checked_name, device_file, device_metadata
from edgetune_export.ecosystem import written_beside
from edgetune_export.ensembles import check_ensembles, described_ensembles
from edgetune_export.graphs import (
    float_table,
    forget_weights,
    shared_graphs,
    standalone_graph,
    tokenizer_text,
    write_graph,
)
from edgetune_export.needs import PLAIN, has_suffix, needs_of
from edgetune_export.new_positions import write_new_positions
from edgetune_export.onnx_adapters import check_onnx_adapters, write_onnx_adapters
from edgetune_export.ort_format import as_ort, check_ort
from edgetune_export.progress import Tell, untold
from edgetune_export.verify import Check, expected_logits, tolerance, verified


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
    ort: bool = False,
    onnx_adapters: bool = False,
    spend: bool = False,
    tell: Tell = untold,
) -> Exported:
    """Writes the bundle of a base and its adapters (by name) to `out`, checked against torch first.

    Without adapters `task` says what an encoder is for. `ort` writes ONNX Runtime's own format, `onnx_adapters`
    also what its LoraAdapter API takes. `spend` lets go of the base's weights once torch has said what they compute:
    nothing is held twice, and the base serves no more.

    Raises:
        VerificationError: ONNX Runtime and torch differ; nothing is left at `out`.
        BaseMismatchError, AdapterError, ConfigError, UnsupportedModelError, OutputExistsError: it cannot be written.
    """
    pooling = checked(base, adapters, standalone, task)
    check_ensembles(ensembles or {}, adapters, standalone)
    if ort:
        check_ort(base, weights)
    with new_folder(out, force=force, marker=(manifest.NAME,)) as folder, ExitStack() as stack:
        folded, needs = None, PLAIN if standalone else needs_of(adapters.values())
        if onnx_adapters:
            check_onnx_adapters(base, needs, standalone, ort)
        if standalone:
            ((name, adapter),) = adapters.items()
            weights = float_table(base, adapter, weights)
            graphs = {manifest.GRAPH: standalone_graph(base, adapter, weights, tell)}
            folded = device_metadata(name, adapter)
        else:
            graphs = shared_graphs(base, pooling, needs, weights, tell)
        files = list(graphs)
        while graphs:
            file, graph = graphs.popitem()
            write_graph(graph, folder / file, base, single_file=standalone, tell=tell)
            forget_weights(graph)
        if has_new_positions := base.kind == "decoder" and not standalone and not ort:
            write_new_positions(folder / manifest.GRAPH)
        if ort:
            as_ort([folder / file for file in files])
        tell("computing")  # from here on with the weights that ship
        round_for_good(base, weights) if spend else stack.enter_context(rounded(base, weights))
        expected = list(expected_logits(base, adapters, standalone, pooling))
        (folder / "tokenizer.json").write_text(tokenizer_text(base.tokenizer), encoding="utf-8")
        if manifest.has_target_tokenizer(base):
            (folder / TARGET_TOKENIZER).write_text(tokenizer_text(base.target_tokenizer), encoding="utf-8")
        if template := manifest.chat_template(base):
            (folder / manifest.CHAT_TEMPLATE).write_text(template, encoding="utf-8", newline="")
        if base.kind == "decoder" and needs == PLAIN and not ort:
            written_beside(folder, base, shared=not standalone)
        if not standalone:
            write_adapters(folder, base, adapters)
        if onnx_adapters:
            shipped = {name: (folder / manifest.adapter_path(name)).read_bytes() for name in adapters}
            write_onnx_adapters(folder, manifest.GRAPH, shipped)
        if spend:
            let_go(base)
        description = manifest.described(
            base,
            form="standalone" if standalone else "shared",
            task=bundle_task(base, adapters, pooling),
            weights=weights,
            pooling=pooling,
            adapters=[] if standalone else list(adapters),
            folded=folded,
            needs=needs,
            has_new_positions=has_new_positions,
        )
        description.update(described_ensembles(ensembles or {}))
        if ort:
            manifest.name_ort(description)
        (folder / manifest.NAME).write_text(manifest.manifest_text(description, folder), encoding="utf-8")
        tell("verifying")
        checks = verified(folder, base, expected, weights, tell)
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


def write_adapters(folder: Path, base: Base, adapters: dict[str, Adapter]) -> None:
    if adapters:
        (folder / "adapters").mkdir()
    for name, adapter in adapters.items():
        (folder / manifest.adapter_path(name)).write_bytes(device_file(name, adapter, base))
