"""A base divided among the processes, for one that no device holds: each keeps a part of every layer's weights.

Layers are torch's FSDP2 units: their weights are brought together when the layer runs, forward and backward, and are
forgotten behind it. All else, the vocabulary's tables above all, is whole in every process, since prompts and losses
read it outside of layers; so is what is learned, which FSDP knows nothing of. Only the process 0 reads the checkpoint,
and never holds a device more than its parts and one whole layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel

from edgetune.config import TrainConfig
from edgetune.errors import ConfigError, UnsupportedModelError
from edgetune.models.base import Base, load_base, registered_task
from edgetune.models.encoder_decoder import target_tokenizer
from edgetune.models.probes import backbone, probing_ids, routed
from edgetune.models.rounding import Weights
from edgetune.models.spending import round_for_good
from edgetune.training.processes import Processes, Sharding

OWN = ("model", "tokenizer", "target_tokenizer", "divided")
"""Fields of a base that a process has for itself; the others come from the process 0."""


def sharded_base(name: str, purpose: str, weights: Weights, processes: Processes) -> Base:
    """As `load_base`, its weights rounded for good and divided among all processes, which call this together.

    Raises:
        UnsupportedModelError: no layers to divide are known of the family.
    """
    whole: list[Base] = []

    def described() -> tuple[dict[str, Any], Any, str]:
        whole.append(load_base(name, purpose))
        fingerprint = whole[0].fingerprint
        round_for_good(whole[0], weights)
        return described_by(whole[0]), getattr(whole[0].model, "generation_config", None), fingerprint

    values, generation, fingerprint = processes.from_main(described)
    if whole:
        base = whole[0]
    else:
        model = empty_model(name, purpose)
        model.generation_config = generation
        tokenizer = AutoTokenizer.from_pretrained(name)
        target = target_tokenizer(name, tokenizer) if model.config.is_encoder_decoder else None
        base = Base(model=model, tokenizer=tokenizer, target_tokenizer=target, **values)
    divide(base.model, name, processes)
    base = replace(base, divided=True)
    base.__dict__["fingerprint"] = fingerprint
    return base


def described_by(base: Base) -> dict[str, Any]:
    return {field.name: getattr(base, field.name) for field in fields(base) if field.name not in OWN}


def empty_model(name: str, purpose: str) -> PreTrainedModel:
    """The architecture with its buffers and no weights, attending through ours."""
    from accelerate import init_empty_weights
    from optimum.exporters.tasks import TasksManager

    config = AutoConfig.from_pretrained(name)
    model_class: Any = TasksManager.get_model_class_for_task(registered_task(config, purpose))
    with init_empty_weights(include_buffers=False):
        model = model_class.from_config(config, dtype=torch.float32)
    model.eval().requires_grad_(False)
    routed(model)
    return model


@torch.no_grad()
def divide(model: PreTrainedModel, name: str, processes: Processes) -> None:
    """Every process gets the weights of the process 0: of layers its part, of all else the whole."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    device = torch.device(processes.device)
    mesh = init_device_mesh(device.type, (processes.count,))
    sharding = processes.sharding or Sharding()
    layers = list(layers_of(model, name, sharding))
    known: dict[torch.nn.Parameter, torch.nn.Parameter] = {}
    for layer in layers:
        take_weights(layer, known, processes)
        fully_shard(layer, mesh=mesh, reshard_after_forward=sharding.forgets)
        known.clear()  # the whole ones
    divided = {id(parameter) for layer in layers for parameter in layer.parameters()}
    take_weights(model, known, processes, divided)
    rest = {parameter for parameter in model.parameters() if id(parameter) not in divided}
    model.to(device)  # type: ignore[arg-type]
    for outer in dict.fromkeys(
        (backbone(model), model)
    ):  # they have no weights left, and let layers fetch theirs ahead
        fully_shard(outer, mesh=mesh, ignored_params=rest)
    ids = probing_ids(model).to(device)
    pair = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    model(input_ids=ids, attention_mask=torch.ones_like(ids), **pair)  # the first forward pass must be of the whole


def take_weights(
    module: torch.nn.Module,
    known: dict[torch.nn.Parameter, torch.nn.Parameter],
    processes: Processes,
    divided: frozenset[int] | set[int] = frozenset(),
) -> None:
    """Parameters and buffers in and below `module` become those of the process 0, but for those already `divided`."""
    for inner in module.modules():
        for name, parameter in inner._parameters.items():
            if parameter is None or id(parameter) in divided:
                continue
            if parameter not in known:
                known[parameter] = torch.nn.Parameter(from_main(parameter, processes), requires_grad=False)
            inner._parameters[name] = known[parameter]
        for name, buffer in inner._buffers.items():
            if buffer is not None:
                inner._buffers[name] = from_main(buffer, processes)


def from_main(weight: torch.Tensor, processes: Processes) -> torch.Tensor:
    """A weight of the process 0 on this one's device."""
    import torch.distributed as group

    device = torch.device(processes.device)
    found = weight.detach().to(device) if processes.is_main else torch.empty_like(weight, device=device)
    group.broadcast(found.view(torch.uint8) if found.dtype == torch.bool else found, src=0)
    return found


def layers_of(model: PreTrainedModel, name: str, sharding: Sharding) -> Iterator[torch.nn.Module]:
    """The modules to divide: of the named classes, without what holds the vocabulary's tables."""
    names = set(sharding.layers or model._no_split_modules or ())
    tables = {model.get_input_embeddings(), model.get_output_embeddings()}
    found = [x for x in model.modules() if type(x).__name__ in names and not tables & set(x.modules())]
    inside = {inner for layer in found for inner in layer.modules() if inner is not layer}
    if not found:
        raise UnsupportedModelError(
            f"no layers of {name!r} ({model.config.model_type}) are known to divide among processes; name their class: "
            "--fsdp_transformer_layer_cls_to_wrap"
        )
    yield from (layer for layer in found if layer not in inside)


def refuse_whole(config: TrainConfig, processes: Processes) -> None:
    """Raises ConfigError where the base's weights would be read in a way that needs them whole."""
    if config.precision == "bf16" and torch.device(processes.device).type == "cpu":
        raise ConfigError("bf16 on processors needs a base that is whole in each process: use fp32, or leave FSDP out")
