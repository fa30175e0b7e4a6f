"""An adapter on disk: `adapter.safetensors` and `adapter.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_args

import torch
from edgetune_runtime.words import SPLITS
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from edgetune.config import POOLINGS, STORAGES, Pooling, Task
from edgetune.errors import AdapterError, BaseMismatchError
from edgetune.methods.head import ACTIVATIONS, MlpHead, head_from
from edgetune.methods.joined import Joined, Soft
from edgetune.methods.places import is_shared, layer_tensors, named_layers, placed_layers
from edgetune.methods.prefix import Prefix
from edgetune.methods.prompt import Prompt
from edgetune.methods.scaled import ScaledHead
from edgetune.methods.tuned import Tuned
from edgetune.methods.words import LabelWords
from edgetune.models.base import WORDS, Base

FORMAT_VERSION = 1
TENSORS, DESCRIPTION = "adapter.safetensors", "adapter.json"
POSITIONS = "after_virtual"
"""Virtual tokens hold positions 0 … P−1, the text starts at P."""

CHOICES = {
    "task": get_args(Task),
    "pooling": POOLINGS,
    "positions": (POSITIONS,),
    "activation": tuple(ACTIVATIONS),
    "word_split": SPLITS,
    "storage": STORAGES,
}
KINDS = {
    "virtual_tokens": int,
    "labels": list,
    "tokens": dict,
    "generation": dict,
    "label_words": list,
    "tuned_for": dict,
    "begins_text": bool,
}
"""What a description's fields may hold; the others are strings."""


@dataclass(frozen=True)
class Adapter:
    """One tuned task.

    Attributes:
        virtual_tokens: all positions that are taken, in front of the text and behind it.
        tensors: `prompt_embeds [P, E]`, behind the text `suffix_embeds [Q, E]`; `past_key_values.{l}.key` and `.value`
            `[K, P_l, D]` of every layer, or `.key_value` that is both, named by their places for an encoder–decoder;
            for a classifier also `head.weight [C, H]` and `head.bias [C]`; with a hidden layer `head.weight [C, F]`,
            `head.dense.weight [F, H]` and `head.dense.bias [F]`.
        activation: what follows the head's hidden layer, where it has one.
        template, label_words: of a classifier that answers with words: what the text is filled into, and the tokens of
            each label's words. The head of a masked language model is made of these and was not learned.
        word_split: how a plain text becomes words, of a task that tags.
        tokens: the ids that the task gives a meaning: `eos`, those that end a completion.
        tuned_for: the rounding of the base's weights that it was tuned against; empty: none.
        begins_text: its virtual tokens are a text's beginning, special tokens included; what follows has none.
        storage: of its keys and values on the device: fp32, fp16 or int8. The tensors here are what comes back from it.
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
    template: str = ""
    label_words: tuple[tuple[int, ...], ...] = ()
    word_split: str = SPLITS[0]
    positions: str = POSITIONS
    tokens: dict[str, list[int]] = field(default_factory=dict)
    generation: dict[str, Any] = field(default_factory=dict)
    tuned_for: dict[str, Any] = field(default_factory=dict)
    begins_text: bool = False
    storage: str = STORAGES[0]

    @property
    def size_bytes(self) -> int:
        return sum(x.numel() * x.element_size() for x in self.tensors.values())

    @property
    def parameters(self) -> int:
        """All that was learned."""
        return sum(x.numel() for name, x in self.tensors.items() if not (self.label_words and name.startswith("head.")))

    @property
    def purpose(self) -> str:
        """What its base is loaded for."""
        return WORDS if self.label_words else self.task

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
    values["label_words"] = tuple(map(tuple, values.get("label_words", ())))
    return Adapter(**{**values, "labels": tuple(values.get("labels", ())), "tensors": tensors})


def check_description(values: dict[str, Any], tensors: dict[str, Tensor], where: Path) -> None:
    """Raises AdapterError for a value of another type or of no known meaning, and for labels without a head."""
    for name, value in values.items():
        if name in CHOICES and value not in CHOICES[name]:
            raise AdapterError(f"{where}: {name} is {value!r}; this edgetune knows {', '.join(CHOICES[name])}")
        if not isinstance(value, KINDS.get(name, str)):
            raise AdapterError(f"{where}: {name} is {value!r}, which is not of type {KINDS.get(name, str).__name__}")
    labels, words = values.get("labels", []), values.get("label_words", [])
    classes = tensors["head.weight"].shape[0] if "head.weight" in tensors else len(words)
    if len(labels) != (0 if values["task"] == "regress" else classes) or not all(isinstance(x, str) for x in labels):
        raise AdapterError(f"{where}: labels are {len(labels)} names, and the head has {classes} classes")
    if words and (len(words) != classes or not all(isinstance(x, list) and x for x in words)):
        raise AdapterError(f"{where}: label_words are not {classes} lists of tokens, one for each label")


def adapter_from(
    tuned: Tuned, *, task: str, method: str, labels: tuple[str, ...] = (), generation: dict[str, Any] | None = None,
    word_split: str = SPLITS[0],
) -> Adapter:  # fmt: skip
    """What is worth keeping of a tuned model; the base is named, not stored."""
    tensors: dict[str, Tensor] = {}
    virtual = tuned.virtual()
    for name, vectors in (("prompt_embeds", virtual.prompt), ("suffix_embeds", virtual.suffix)):
        if vectors is not None:
            tensors[name] = vectors[0]
    for name, layer in named_layers(tuned.base, virtual):
        tensors |= {part: x[0] for part, x in layer_tensors(name, layer).items()}
    head = tuned.head.folded() if isinstance(tuned.head, ScaledHead) else tuned.head
    if head is not None:
        tensors.update({f"head.{name}": x for name, x in head.named_parameters()})
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
        activation=head.activation if isinstance(head, MlpHead) else "tanh",
        template=tuned.words.template if tuned.words else "",
        label_words=tuned.words.ids if tuned.words else (),
        word_split=word_split,
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
    words = LabelWords(adapter.template, adapter.label_words) if adapter.label_words else None
    head = head_from(tensors, adapter.activation)
    return Tuned(base, soft_from(base, tensors), head, adapter.pooling, labels=adapter.labels, words=words).eval()


def soft_from(base: Base, tensors: dict[str, Tensor]) -> Soft | None:
    """The virtual tokens that an adapter's tensors hold, if any."""
    prompt = prefix = None
    vectors = [tensors[name] for name in ("prompt_embeds", "suffix_embeds") if name in tensors]
    if vectors:
        prompt = Prompt(torch.cat(vectors), len(tensors.get("prompt_embeds", ())))
    if placed := placed_layers(base, tensors):
        layers = [layer for of_place in placed.values() for layer in of_place]
        counts = {place: len(of_place) for place, of_place in placed.items()}
        prefix = Prefix(layers, counts, shared=is_shared(tensors))
    return Joined(prompt, prefix) if prompt and prefix else prompt or prefix
