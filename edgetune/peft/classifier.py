"""The model's own classifier, which PEFT keeps beside its virtual tokens, as a head of ours and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from edgetune.adapter import Adapter
from edgetune.errors import AdapterError
from edgetune.methods.head import LinearHead, head_from
from edgetune.models.base import Base
from edgetune.peft.stored import HEAD, TENSORS, Stored


@dataclass(frozen=True)
class Classifier:
    """A family's classifier: a hidden layer over index 0, an activation, an output layer.

    Attributes:
        dense, out: its layers as PEFT names them.
        pooler: the hidden layer's name in our base, where it belongs to the base: PEFT leaves it there unless told to
            save it.
        prefix: whether PEFT can put a prefix in front of the family.
    """

    dense: str
    out: str
    activation: str
    pooler: str | None = None
    prefix: bool = True


ROBERTA = Classifier("classifier.dense", "classifier.out_proj", "tanh")
FAMILIES = {
    "bert": Classifier("bert.pooler.dense", "classifier", "tanh", pooler="pooler.dense"),
    "albert": Classifier("albert.pooler", "classifier", "tanh", pooler="pooler", prefix=False),
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
    "camembert": ROBERTA,
    "electra": Classifier("classifier.dense", "classifier.out_proj", "gelu"),
    "distilbert": Classifier("pre_classifier", "classifier", "relu", prefix=False),
}
"""By model type. PEFT's forward reads index 0 in all of them: under prompt tuning the first virtual token."""


def classifier_of(base: Base) -> Classifier:
    if base.model_type not in FAMILIES:
        raise AdapterError(
            f"{base.name!r} is of the family {base.model_type!r}; classifiers go between PEFT and edgetune for "
            f"{', '.join(FAMILIES)}"
        )
    return FAMILIES[base.model_type]


def own_pooler(stored: Stored, base: Base) -> bool:
    """Whether the classifier reads the base's own pooler, which the folder does not hold."""
    family = classifier_of(base)
    return family.pooler is not None and f"{family.dense}.weight" not in stored.head


def refuse_new_pooler(stored: Stored, base: Base) -> None:
    """Raises AdapterError where the checkpoint has no pooler: transformers then makes a random one at every load."""
    if stored.task != "classify" or not own_pooler(stored, base):
        return
    found: Any = type(base.model).from_pretrained(base.name, output_loading_info=True)
    _, info = found
    if any("pooler" in name.split(".") for name in info["missing_keys"]):
        raise AdapterError(
            f"{stored.folder / TENSORS} relies on the pooler of {base.name!r}, whose checkpoint has none: tune it in "
            'PEFT with modules_to_save=["pooler"], or give the checkpoint that it was tuned on as --model'
        )


def head_of(stored: Stored, base: Base) -> LinearHead:
    """The head that PEFT saved, with the base's pooler where it reads that.

    Raises:
        AdapterError: its tensors are not those of the family's classifier.
    """
    family, path, found = classifier_of(base), stored.folder / TENSORS, dict(stored.head)
    if own_pooler(stored, base):
        assert family.pooler is not None
        pooler = base.model.get_submodule(family.pooler)
        found.update({f"{family.dense}.{name}": x.detach() for name, x in pooler.named_parameters()})
    ours = {f"{family.dense}.weight": "dense.weight", f"{family.dense}.bias": "dense.bias",
            f"{family.out}.weight": "weight", f"{family.out}.bias": "bias"}  # fmt: skip
    if missing := sorted(set(ours) - set(found)):
        raise AdapterError(f"{path} lacks {', '.join(HEAD + x for x in missing)}, of the classifier of {base.name!r}")
    if extra := sorted(set(found) - set(ours)):
        raise AdapterError(
            f"{path} also holds {', '.join(HEAD + x for x in extra[:3])}: weights of the base, which an edgetune "
            "adapter cannot keep"
        )
    tensors = {name: found[theirs].float() for theirs, name in ours.items()}
    (inner, size), classes = shape2(tensors["dense.weight"]), len(tensors["bias"])
    fits = size == base.hidden_size and tensors["dense.bias"].shape == (inner,)
    if not fits or tensors["weight"].shape != (classes, inner):
        shapes = ", ".join(f"{HEAD + theirs} {list(found[theirs].shape)}" for theirs in ours)
        raise AdapterError(f"{path} does not fit {base.name!r}, whose hidden size is {base.hidden_size}: {shapes}")
    if classes < 2:
        raise AdapterError(f"{path} has a classifier of one class: a regression, which edgetune does not import")
    head = head_from({f"head.{name}": x for name, x in tensors.items()}, family.activation)
    assert head is not None
    return head


def shape2(x: Tensor) -> tuple[int, int]:
    return (x.shape[0], x.shape[1]) if x.dim() == 2 else (0, 0)


def labels_of(stored: Stored, base: Base, head: LinearHead, given: tuple[str, ...]) -> tuple[str, ...]:
    """Those given, else the base configuration's where there are as many, else transformers' LABEL_0 ….

    Raises:
        AdapterError: another number of labels than the head has classes, or one of them twice.
    """
    classes = len(head.bias)
    if given:
        if len(given) != classes or len(set(given)) != classes:
            raise AdapterError(
                f"{stored.folder / TENSORS} has {classes} classes: --labels wants as many, all different"
            )
        return given
    named: dict[Any, str] = base.model.config.id2label or {}
    known = tuple(str(named[i]) for i in sorted(named))
    return known if len(set(known)) == classes == len(known) else tuple(f"LABEL_{i}" for i in range(classes))


def check_head(adapter: Adapter) -> None:
    """Asked before a base is loaded; raises AdapterError for a head that no classifier of PEFT's is."""
    if "head.dense.weight" not in adapter.tensors:
        raise AdapterError(
            "PEFT cannot express this adapter: its head is linear, where the classifiers that PEFT tunes have a hidden "
            "layer; train with --head mlp --pooling start"
        )
    readable = ("start", "first") if adapter.method == "prefix" else ("start",)
    if adapter.pooling not in readable:
        raise AdapterError(
            f"PEFT cannot express this adapter: its head reads {adapter.pooling!r}, where PEFT's classifiers read the "
            "first position; train with --pooling start"
        )


def saved_head(adapter: Adapter, base: Base) -> tuple[dict[str, Tensor], list[str]]:
    """The head's tensors as PEFT saves them, and its `modules_to_save`.

    A pooler that is the base's own is left out, as PEFT does; another is saved with the adapter.

    Raises:
        AdapterError: the family's classifier is another.
    """
    family, tensors = classifier_of(base), adapter.tensors
    if adapter.method == "prefix" and not family.prefix:
        raise AdapterError(
            f"PEFT cannot express this adapter: it puts no prefix in front of {base.model_type}; use --method prompt"
        )
    dense = tensors["head.dense.weight"]
    if adapter.activation != family.activation or dense.shape[0] != dense.shape[1]:
        raise AdapterError(
            f"PEFT cannot express this adapter: its head has a hidden layer of {dense.shape[0]} with "
            f"{adapter.activation}, the classifier of {base.model_type} one of {base.hidden_size} with "
            f"{family.activation}"
        )
    saved = {f"{HEAD}{family.out}.{part}": tensors[f"head.{part}"] for part in ("weight", "bias")}
    modules = ["classifier", "score"]
    hidden = {part: tensors[f"head.dense.{part}"] for part in ("weight", "bias")}
    if family.pooler is not None:
        own = dict(base.model.get_submodule(family.pooler).named_parameters())
        if all(torch.equal(x, own[part]) for part, x in hidden.items()):
            return saved, modules
        modules = [*modules, "pooler"]
    return {**saved, **{f"{HEAD}{family.dense}.{part}": x for part, x in hidden.items()}}, modules
