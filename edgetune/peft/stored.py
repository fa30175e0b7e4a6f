"""A PEFT adapter on disk: `adapter_config.json` and `adapter_model.safetensors`, checked without its base."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from edgetune.errors import AdapterError, ConfigError

CONFIG, TENSORS, PICKLE = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"

MULTITASK = "MULTITASK_PROMPT_TUNING"
METHODS = {
    "PROMPT_TUNING": "prompt",
    "P_TUNING": "prompt",
    MULTITASK: "prompt",
    "CPT": "prompt",
    "PREFIX_TUNING": "prefix",
    "CARTRIDGE": "prefix",
}
"""PEFT's kinds of soft prompts and our method of each. CPT and P-tuning store what they compute: a plain prompt."""

TASKS = {"CAUSAL_LM": "generate", "SEQ_CLS": "classify", "SEQ_2_SEQ_LM": "generate"}
"""PEFT's tasks and ours."""

PAIR_TASK = "SEQ_2_SEQ_LM"
SUBMODULES = {"CAUSAL_LM": 1, "SEQ_CLS": 1, PAIR_TASK: 2}
"""Of each task, the sides of the model that PEFT stores rows for."""

HEAD = "base_model."
"""What PEFT puts in front of the names of a classifier's tensors."""

OTHER_TASKS = {
    "TOKEN_CLS": "edgetune has no token labelling yet",
    "QUESTION_ANS": "edgetune has no heads that mark spans",
    "FEATURE_EXTRACTION": "edgetune tunes for classification and generation, not for hidden states",
}
"""Why an adapter for another task cannot be kept exactly."""


@dataclass(frozen=True)
class Stored:
    """What a PEFT folder holds.

    Attributes:
        kind: PEFT's `peft_type`.
        length: P, its `num_virtual_tokens`.
        rows: float32; a prompt `[P, E]` (of multitask, the chosen task's), or keys and values `[P, L * 2 * K * D]`.
        config: `adapter_config.json` as it is.
        head: a classifier's tensors by their names in the model, such as `classifier.weight`.
    """

    folder: Path
    kind: str
    length: int
    rows: Tensor
    config: dict[str, Any]
    head: dict[str, Tensor] = field(default_factory=dict)

    @property
    def task(self) -> str:
        return TASKS[self.config["task_type"]]

    @property
    def method(self) -> str:
        return METHODS[self.kind]

    @property
    def base_name(self) -> str:
        """The base that the configuration names.

        Raises:
            ConfigError: none, or a revision of it that is not the one under that name.
        """
        path, revision = self.folder / CONFIG, self.config.get("revision")
        name = self.config.get("base_model_name_or_path")
        if not name or not isinstance(name, str):
            raise ConfigError(f"{path} names no base model: give --model")
        if revision not in (None, "", "main"):
            raise ConfigError(f"{path} asks for revision {revision!r} of {name!r}: give a folder of it as --model")
        return name


def read_peft(folder: str | Path, task_id: int | None = None) -> Stored:
    """The PEFT adapter in a folder; `task_id` chooses the task of a multitask prompt.

    Raises:
        AdapterError: a file is missing, damaged or a pickle; a kind or a task that edgetune cannot express.
        ConfigError: `task_id` is missing, out of range or given to an adapter of a single task.
    """
    folder = Path(folder)
    config = read_config(folder)
    kind, length = config["peft_type"], config["num_virtual_tokens"]
    tensors = read_tensors(folder)
    names = {"prompt_embeddings"} | ({"prefix_task_cols", "prefix_task_rows"} if kind == MULTITASK else set())
    path = folder / TENSORS
    if missing := sorted(names - set(tensors)):
        raise AdapterError(f"{path} lacks {', '.join(missing)}, which {kind} stores")
    head = {name for name in tensors if name.startswith(HEAD)} if config["task_type"] == "SEQ_CLS" else set()
    if extra := sorted(set(tensors) - names - head):
        shown = ", ".join(extra[:3]) + (" …" if len(extra) > 3 else "")
        raise AdapterError(f"{path} also holds {shown}: weights of the base, which an edgetune adapter cannot keep")
    for name, x in tensors.items():
        if not x.is_floating_point() or not torch.isfinite(x).all():
            raise AdapterError(f"{path} is damaged: {name} holds values that are not finite numbers")
    rows = tensors["prompt_embeddings"].float()
    if rows.dim() != 2 or rows.shape[0] != stored_rows(config):
        raise AdapterError(
            f"{path} holds prompt_embeddings {list(rows.shape)}, but num_virtual_tokens in {CONFIG} is {length}"
        )
    if kind == MULTITASK:
        rows = task_prompt(rows, tensors["prefix_task_cols"], tensors["prefix_task_rows"], task_id, path)
    elif task_id is not None:
        raise ConfigError(f"{folder} holds {kind} of a single task: leave --task-id out, it is for {MULTITASK}")
    return Stored(folder, kind, length, rows, config, {name.removeprefix(HEAD): tensors[name] for name in head})


def read_config(folder: Path) -> dict[str, Any]:
    """`adapter_config.json` of a kind and a task that edgetune can express."""
    path = folder / CONFIG
    if not folder.is_dir():
        raise AdapterError(f"{folder} is not a folder; get one of the hub with hf download NAME --local-dir DIR")
    try:
        config = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise AdapterError(f"{folder} is no PEFT adapter: {CONFIG} is missing") from error
    except (OSError, ValueError) as error:
        raise AdapterError(f"{path} cannot be read: {error}") from error
    if not isinstance(config, dict) or "peft_type" not in config:
        raise AdapterError(f"{path} does not describe a PEFT adapter: it has no peft_type")
    kind, task = config["peft_type"], config.get("task_type")
    if kind not in METHODS:
        raise AdapterError(f"{path} has peft_type {kind!r}; edgetune imports {', '.join(METHODS)}")
    if not isinstance(task, str) or task not in TASKS:
        reason = OTHER_TASKS.get(task) if isinstance(task, str) else None
        raise AdapterError(f"{path} has task_type {task!r}: {reason or 'edgetune imports ' + ' and '.join(TASKS)}")
    if (sides := config.get("num_transformer_submodules")) not in (None, SUBMODULES[task]):
        raise AdapterError(f"{path} has num_transformer_submodules {sides}, where {task} has {SUBMODULES[task]}")
    whole_number(config, "num_virtual_tokens", path)
    return config


def stored_rows(config: dict[str, Any]) -> int:
    """P; of an encoder–decoder's prompt P for either side, though the decoder's are not used."""
    doubled = config["task_type"] == PAIR_TASK and METHODS[config["peft_type"]] == "prompt"
    return config["num_virtual_tokens"] * (2 if doubled else 1)


def whole_number(config: dict[str, Any], name: str, path: Path) -> int:
    value = config.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise AdapterError(f"{path} has {name} {value!r}; it must be a whole number above 0")
    return value


def read_tensors(folder: Path) -> dict[str, Tensor]:
    path = folder / TENSORS
    if not path.exists() and (folder / PICKLE).exists():
        raise AdapterError(
            f"{folder / PICKLE} is a pickle, which can run code when it is read: if you trust it, load it in PEFT and "
            f"save it anew with save_pretrained, which writes {TENSORS}"
        )
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise AdapterError(f"{folder} is no whole PEFT adapter: {TENSORS} is missing") from error
    except (OSError, ValueError, SafetensorError) as error:
        raise AdapterError(f"{path} cannot be read: {error}") from error


def task_prompt(shared: Tensor, cols: Tensor, rows: Tensor, task_id: int | None, path: Path) -> Tensor:
    """The prompt `[P, E]` of one task: the shared one times its low-rank matrix (Wang et al. 2023, section 3.1).

    shared `[P, E]`, cols `[tasks, P, rank]`, rows `[tasks, rank, E]`.
    """
    tasks, (length, width) = len(cols) if cols.dim() else 0, shared.shape
    rank = cols.shape[-1] if cols.dim() else 0
    if tuple(cols.shape) != (tasks, length, rank) or tuple(rows.shape) != (tasks, rank, width) or not tasks:
        raise AdapterError(
            f"{path} is damaged: prefix_task_cols {list(cols.shape)} and prefix_task_rows {list(rows.shape)} do not "
            f"fit prompt_embeddings {list(shared.shape)}"
        )
    if task_id is None and tasks > 1:
        raise ConfigError(f"{path} holds prompts of {tasks} tasks: choose one with --task-id 0 … {tasks - 1}")
    if not 0 <= (task_id or 0) < tasks:
        raise ConfigError(f"{path} holds prompts of {tasks} tasks; --task-id {task_id} is not among 0 … {tasks - 1}")
    return shared * (cols[task_id or 0].float() @ rows[task_id or 0].float())
