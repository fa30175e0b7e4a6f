"""A PEFT adapter as ours and ours as PEFT's: the same numbers under other names and shapes, nothing approximated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from edgetune.adapter import POSITIONS, Adapter, adapter_from, tuned_from
from edgetune.errors import AdapterError, ConfigError
from edgetune.methods.places import is_shared
from edgetune.methods.prefix import Prefix
from edgetune.methods.prompt import Prompt
from edgetune.methods.tuned import Tuned
from edgetune.models.base import Base, LayerShape
from edgetune.peft.classifier import check_head, head_of, labels_of, saved_head
from edgetune.peft.layout import common_shape, prefix_from_rows, rows_from_prefix, unreached, wider_layers
from edgetune.peft.pairs import pair_adapter_on, peft_of_pair
from edgetune.peft.stored import CONFIG, PAIR_TASK, TASKS, TENSORS, Stored, read_peft, whole_number


def adapter_from_peft(
    folder: str | Path, base: Base, task_id: int | None = None, labels: tuple[str, ...] = ()
) -> Adapter:
    """The PEFT adapter in a folder as an adapter of `base`; `task_id` chooses the task of a multitask prompt.

    `labels` name a classifier's classes; without them the base's configuration does.

    Its logits are those of PEFT's own forward, on rows alone and rows padded on the right. Padding on the left takes
    positions in PEFT, unless the family numbers by the mask (OPT) or a prefix generates; edgetune pads on the right.

    Raises:
        AdapterError: the folder is damaged, does not fit the base, or holds what an edgetune adapter cannot express.
        ConfigError: `task_id` is missing, out of range or given to an adapter of a single task.
    """
    return adapter_on(read_peft(folder, task_id), base, labels)


def adapter_on(stored: Stored, base: Base, labels: tuple[str, ...] = ()) -> Adapter:
    """An adapter that was read, on its base.

    Raises:
        AdapterError: it does not fit the base.
    """
    if labels and stored.task != "classify":
        raise ConfigError(f"{stored.folder} holds a generator: leave --labels out, it is for classifiers")
    if base.kind == "encoder-decoder" or stored.config["task_type"] == PAIR_TASK:
        return pair_adapter_on(stored, base)
    if base.kind != {"generate": "decoder", "classify": "encoder"}[stored.task]:
        kind, task = ("an encoder" if base.kind == "encoder" else "a decoder"), stored.config["task_type"]
        raise AdapterError(f"{stored.folder / CONFIG} has task_type {task}, but {base.name!r} is {kind}")
    soft = prompt_of(stored, base) if stored.method == "prompt" else prefix_of(stored, base)
    if stored.task == "generate":
        return adapter_from(Tuned(base, soft), task="generate", method=stored.method)
    head = head_of(stored, base)
    names = labels_of(stored, base, head, labels)
    return adapter_from(Tuned(base, soft, head, "start"), task="classify", method=stored.method, labels=names)


def prompt_of(stored: Stored, base: Base) -> Prompt:
    width = stored.rows.shape[1]
    if width != base.embedding_size:
        raise AdapterError(
            f"{stored.folder / TENSORS} does not fit {base.name!r}: its vectors have {width} values, the base's "
            f"embeddings {base.embedding_size}"
        )
    return Prompt(stored.rows)


def prefix_of(stored: Stored, base: Base) -> Prefix:
    path, layers = stored.folder / CONFIG, len(base.layers)
    names = ("num_layers", "num_attention_heads", "token_dim")
    depth, heads, width = (whole_number(stored.config, name, path) for name in names)
    common = LayerShape(heads, width // heads)
    if depth != layers or common not in base.layers or width % heads or stored.rows.shape[1] != layers * 2 * width:
        shapes = " or ".join(f"{x.key_value_heads} x {x.head_size}" for x in dict.fromkeys(base.layers))
        raise AdapterError(
            f"{stored.folder / TENSORS} does not fit {base.name!r}: it holds {list(stored.rows.shape)} for {depth} "
            f"layers of {heads} key/value heads, together {width} wide; the base has {layers} layers of {shapes}"
        )
    if wider := wider_layers(base, common):
        raise AdapterError(f"{path} asks for what an edgetune prefix cannot do: {unreached(base, wider)}")
    return Prefix(prefix_from_rows(stored.rows, common, base))


def write_peft(adapter: Adapter, base: Base, folder: Path) -> None:
    """Two files in an existing folder, which `PeftModel.from_pretrained` loads on the same base.

    Raises:
        AdapterError: PEFT cannot express the adapter.
        BaseMismatchError: the adapter was tuned on another base.
    """
    config, rows = peft_of(adapter, base)
    tensors = {"prompt_embeddings": rows.contiguous()}
    if adapter.task == "classify":
        head, config["modules_to_save"] = saved_head(adapter, base)
        tensors.update({name: x.contiguous() for name, x in head.items()})
    (folder / TENSORS).write_bytes(save(tensors, metadata={"format": "pt"}))
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")


def check_expressible(adapter: Adapter) -> None:
    """Asked before a base is loaded.

    Raises:
        AdapterError: PEFT cannot express the adapter on any base.
    """
    if adapter.task in ("tag", "regress") or adapter.label_words:
        what = "label words" if adapter.label_words else f"--task {adapter.task}"
        raise AdapterError(f"PEFT cannot express this adapter: edgetune exports classifiers' heads, not {what}")
    if adapter.task == "classify":
        check_head(adapter)
    tensors = {name for name in adapter.tensors if not name.startswith("head.")}
    if reason := beyond_peft(adapter):
        raise AdapterError(f"PEFT cannot express this adapter: {reason}")
    parts = ("key_value",) if is_shared(adapter.tensors) else ("key", "value")
    names = {"prompt_embeds"} if adapter.method == "prompt" else {
        f"past_key_values.{i}.{part}" for i in range(len(tensors) // len(parts)) for part in parts
    }  # fmt: skip
    if adapter.method not in ("prompt", "prefix") or tensors != names:
        raise AdapterError(
            f"PEFT cannot express this adapter: it has prompts, or prefixes of all layers, not {adapter.method!r} "
            f"of {', '.join(sorted(tensors))}"
        )
    if adapter.positions != POSITIONS:
        raise AdapterError(
            f"PEFT cannot express this adapter: its positions are {adapter.positions!r}, PEFT's {POSITIONS!r}"
        )


def beyond_peft(adapter: Adapter) -> str | None:
    """What PEFT has no form for. Keys that are values too become two of its tensors, which is the same."""
    if adapter.method == "prompt+prefix":
        return "it has a prompt or a prefix, not both at once"
    if "suffix_embeds" in adapter.tensors:
        return "its prompts stand before the text, and this one, or half of it, after"
    if len({x.shape[1] for name, x in adapter.tensors.items() if "past_key_values." in name}) > 1:
        return "its prefixes are of one length in all layers, and this one's differ"
    return None


def peft_of(adapter: Adapter, base: Base) -> tuple[dict[str, Any], Tensor]:
    """`adapter_config.json` and `prompt_embeddings`."""
    check_expressible(adapter)
    if base.places:
        return peft_of_pair(adapter, base)
    virtual = tuned_from(base, adapter).virtual()
    config: dict[str, Any] = {
        "base_model_name_or_path": base.name,
        "inference_mode": True,
        "modules_to_save": None,
        "num_layers": len(base.layers),
        "num_transformer_submodules": 1,
        "num_virtual_tokens": virtual.length,
        "revision": None,
        "task_type": next(theirs for theirs, ours in TASKS.items() if ours == adapter.task),
    }
    if virtual.prompt is not None:
        own = {"prompt_tuning_init": "RANDOM", "token_dim": base.embedding_size}
        if adapter.task == "classify":  # asked for where the base's configuration names its heads otherwise: DistilBERT
            own["num_attention_heads"] = base.layers[0].key_value_heads
        return {**config, "peft_type": "PROMPT_TUNING", **own}, virtual.prompt[0].detach()
    assert virtual.prefix is not None
    rows = rows_from_prefix([(key[0].detach(), value[0].detach()) for key, value in virtual.prefix], base)
    common = common_shape(base)
    width = common.key_value_heads * common.head_size
    own = {"encoder_hidden_size": width, "num_attention_heads": common.key_value_heads, "prefix_projection": False}
    return {**config, "peft_type": "PREFIX_TUNING", "token_dim": width, **own}, rows
