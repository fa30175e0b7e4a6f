"""An adapter on disk: `adapter.safetensors` and `adapter.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_args

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from edgetune.config import POOLINGS, Pooling, Task
from edgetune.errors import AdapterError, BaseMismatchError
from edgetune.methods.head import ACTIVATIONS, MlpHead, head_from
from edgetune.methods.places import named_layers, placed_layers
from edgetune.methods.prefix import Prefix
from edgetune.methods.prompt import Prompt
from edgetune.methods.tuned import Tuned
from edgetune.models.base import Base

FORMAT_VERSION = 1
TENSORS, DESCRIPTION = "adapter.safetensors", "adapter.json"
POSITIONS = "after_virtual"
"""Virtual tokens hold positions 0 … P−1, the text starts at P."""

CHOICES = {"task": get_args(Task), "pooling": POOLINGS, "positions": (POSITIONS,), "activation": tuple(ACTIVATIONS)}
KINDS = {"virtual_tokens": int, "labels": list, "tokens": dict, "generation": dict, "tuned_for": dict}
"""What a description's fields may hold; the others are strings."""


@dataclass(frozen=True)
class Adapter:
    """One tuned task.

    Attributes:
        tensors: `prompt_embeds [P, E]`, or `past_key_values.{l}.key` and `.value` `[K, P, D]` of every layer, named by
            their places for an encoder–decoder; for a classifier also `head.weight [C, H]` and `head.bias [C]`; with a
            hidden layer `head.weight [C, F]`, `head.dense.weight [F, H]` and `head.dense.bias [F]`.
        activation: what follows the head's hidden layer, where it has one.
        tokens: the ids that the task gives a meaning: `eos`, those that end a completion.
        tuned_for: the rounding of the base's weights that it was tuned against; empty: none.
        generation: defaults of the task on the device, such as `max_new_tokens` and `stop`.
    """

    task: str
    method: str
    virtual_tokens: int
    base_name: str
    base_type: str
    base_fingerprint: str
    tensors: dict[str, Tensor] = field(repr=False)
    labels: tuple[str, ...] = ()
    pooling: Pooling = "mean"
    activation: str = "tanh"
    positions: str = POSITIONS
    tokens: dict[str, list[int]] = field(default_factory=dict)
    generation: dict[str, Any] = field(default_factory=dict)
    tuned_for: dict[str, Any] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        return sum(x.numel() * x.element_size() for x in self.tensors.values())

    @property
    def parameters(self) -> int:
        return sum(x.numel() for x in self.tensors.values())

    def description(self) -> dict[str, Any]:
        """What `adapter.json` holds."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "tensors"}
        shapes = {name: list(x.shape) for name, x in self.tensors.items()}
        return {"format": "edgetune-adapter", "format_version": FORMAT_VERSION, **plain, "shapes": shapes}

    def save(self, folder: Path) -> None:
        """Two files in an existing folder."""
        (folder / TENSORS).write_bytes(save({name: x.contiguous() for name, x in self.tensors.items()}))
        (folder / DESCRIPTION).write_text(json.dumps(self.description(), indent=2, ensure_ascii=False) + "\n", "utf-8")


def load_adapter(folder: str | Path) -> Adapter:
    """The adapter in a folder.

    Raises:
        AdapterError: a file is missing or damaged, or the format's version is another.
    """
    folder = Path(folder)
    try:
        text = json.loads((folder / DESCRIPTION).read_text("utf-8"))
        tensors = load_file(folder / TENSORS)
    except FileNotFoundError as error:
        raise AdapterError(f"{folder} is no adapter: {Path(error.filename or TENSORS).name} is missing") from error
    except (OSError, ValueError, SafetensorError) as error:
        raise AdapterError(f"{folder} cannot be read as an adapter: {error}") from error
    if not isinstance(text, dict) or text.get("format") != "edgetune-adapter":
        raise AdapterError(f"{folder / DESCRIPTION} does not describe an edgetune adapter")
    if text.get("format_version") != FORMAT_VERSION:
        raise AdapterError(
            f"{folder / DESCRIPTION} has format version {text.get('format_version')}; "
            f"this edgetune reads {FORMAT_VERSION}"
        )
    shapes = {name: list(x.shape) for name, x in tensors.items()}
    if text.get("shapes") != shapes:
        raise AdapterError(f"{folder}: {TENSORS} does not hold the tensors that {DESCRIPTION} lists")
    known = {f.name for f in fields(Adapter)} - {"tensors"}
    missing = {"task", "method", "virtual_tokens", "base_fingerprint", "base_name", "base_type"} - set(text)
    if missing:
        raise AdapterError(f"{folder / DESCRIPTION} lacks {', '.join(sorted(missing))}")
    values: dict[str, Any] = {name: value for name, value in text.items() if name in known}
    check_description(values, tensors, folder / DESCRIPTION)
    return Adapter(**{**values, "labels": tuple(values.get("labels", ())), "tensors": tensors})


def check_description(values: dict[str, Any], tensors: dict[str, Tensor], where: Path) -> None:
    """Raises AdapterError for a value of another type or of no known meaning, and for labels without a head."""
    for name, value in values.items():
        if name in CHOICES and value not in CHOICES[name]:
            raise AdapterError(f"{where}: {name} is {value!r}; this edgetune knows {', '.join(CHOICES[name])}")
        if not isinstance(value, KINDS.get(name, str)):
            raise AdapterError(f"{where}: {name} is {value!r}, which is not of type {KINDS.get(name, str).__name__}")
    labels = values.get("labels", [])
    classes = tensors["head.weight"].shape[0] if "head.weight" in tensors else 0
    if len(labels) != classes or not all(isinstance(label, str) for label in labels):
        raise AdapterError(f"{where}: labels are {len(labels)} names, and the head has {classes} classes")


def adapter_from(
    tuned: Tuned, *, task: str, method: str, labels: tuple[str, ...] = (), generation: dict[str, Any] | None = None
) -> Adapter:
    """What is worth keeping of a tuned model; the base is named, not stored."""
    tensors: dict[str, Tensor] = {}
    virtual = tuned.virtual()
    if virtual.prompt is not None:
        tensors["prompt_embeds"] = virtual.prompt[0]
    for name, (key, value) in named_layers(tuned.base, virtual):
        tensors[f"{name}.key"], tensors[f"{name}.value"] = key[0], value[0]
    if tuned.head is not None:
        tensors.update({f"head.{name}": x for name, x in tuned.head.named_parameters()})
    base = tuned.base
    return Adapter(
        task=task,
        method=method,
        virtual_tokens=virtual.tokens,
        base_name=base.name,
        base_type=base.model_type,
        base_fingerprint=base.fingerprint,
        tensors={name: x.detach().clone() for name, x in tensors.items()},
        labels=labels,
        pooling=tuned.pooling,
        activation=tuned.head.activation if isinstance(tuned.head, MlpHead) else "tanh",
        tokens={"eos": list(base.eos_token_ids)} if task == "generate" else {},
        generation=generation or {},
    )


def tuned_from(base: Base, adapter: Adapter) -> Tuned:
    """The adapter on its base.

    Raises:
        BaseMismatchError: the adapter was tuned on another base.
    """
    if adapter.base_fingerprint != base.fingerprint:
        raise BaseMismatchError(
            f"the adapter was tuned on {adapter.base_name!r} ({adapter.base_fingerprint}), "
            f"this base is {base.name!r} ({base.fingerprint}); give the base it was tuned on, or tune it anew"
        )
    tensors = adapter.tensors
    if "prompt_embeds" in tensors:
        soft: Prompt | Prefix = Prompt(tensors["prompt_embeds"])
    else:
        placed = placed_layers(base, tensors)
        layers = [layer for of_place in placed.values() for layer in of_place]
        soft = Prefix(layers, {place: len(of_place) for place, of_place in placed.items()})
    return Tuned(base, soft, head_from(tensors, adapter.activation), adapter.pooling).eval()
