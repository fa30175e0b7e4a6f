"""The file that names tasks: options for all of them, and a table of its own for each."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetune.config import TrainConfig, read_toml, refuse_unknown
from edgetune.data.shards import HUB
from edgetune.errors import ConfigError, EdgetuneError
from edgetune.models.base import task_named

TASKS = "tasks"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
PATHS = ("data", "eval_data", "init_adapter", "tensorboard")
"""Options that are relative to the file's folder; a model is if something is there."""

OWN = ("data", "eval_data")
"""Options that no two tasks have in common, so that the command line has no say in them."""

COMMON = ("model", "precision", "base_precision", "base_block_size", "base_zeros", "base_keep")
"""Options that make the one base, so that no two tasks may differ in them."""


@dataclass(frozen=True)
class Task:
    """What is to be tuned under a name, which is fit for a folder and an adapter in a bundle."""

    name: str
    config: TrainConfig


@contextmanager
def naming(name: str, path: str = "") -> Iterator[None]:
    """Errors of ours that are raised inside say which task they are about, and of which file."""
    try:
        yield
    except EdgetuneError as error:
        where = f"{path}, task {name!r}" if path else f"task {name!r}"
        raise type(error)(f"{where}: {error}") from error


def read_tasks(path: str | Path, given: Mapping[str, Any] | None = None) -> list[Task]:
    """The file's tasks, in its order. A task's own options win over those for all, and what is `given` over both.

    Raises:
        ConfigError: the file cannot be read, or says what cannot be done; told with the task's name.
    """
    values, folder, given = read_toml(path), Path(path).parent, given or {}
    tables = values.pop(TASKS, None)
    if not isinstance(tables, dict) or not tables:
        raise ConfigError(f'{path} names no tasks; write a table for each, [tasks.NAME] with data = "FILE"')
    refuse_unknown(values, str(path))
    for name in OWN:
        if name in given:
            flag = f"--{name.replace('_', '-')}"
            raise ConfigError(f"{flag} does not go with --tasks: each task has its own, in {path}")
    shared = placed(values, folder)
    tasks = [task_of(name, table, shared, given, folder, str(path)) for name, table in tables.items()]
    refuse_together(tasks, str(path))
    return tasks


def task_of(
    name: str, table: Any, shared: Mapping[str, Any], given: Mapping[str, Any], folder: Path, path: str
) -> Task:
    where = f"{path}, task {name!r}"
    if not NAME.fullmatch(name) or name.endswith(".run"):
        raise ConfigError(f"{where}: a name is of letters, digits, '.', '_' and '-', begins with none of these three "
                          "and does not end in .run")  # fmt: skip
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: it is {table!r}; write a table, [tasks.{name}]")
    refuse_unknown(table, where)
    values: dict[str, Any] = {**shared, **placed(table, folder), **given}
    for wanted in ("model", "data", "task"):
        if not values.get(wanted):
            raise ConfigError(f"{where}: no {wanted}; set it there" + (", or for all tasks" * (wanted != "data")))
    if isinstance(values.get("tensorboard"), str):
        values["tensorboard"] = os.path.join(values["tensorboard"], name)
    with naming(name, path):
        return Task(name, TrainConfig(**{**values, "task": task_named(str(values["task"]))}))


def placed(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The options with their paths as seen from the working folder."""
    found = dict(values)
    for name in PATHS:
        value = found.get(name)
        if isinstance(value, str) and not value.startswith(HUB):
            found[name] = str(folder / value)
    model = found.get("model")
    if isinstance(model, str) and (folder / model).exists():
        found["model"] = str(folder / model)
    return found


def refuse_together(tasks: Sequence[Task], path: str) -> None:
    """Raises ConfigError for tasks that cannot be tuned in one process, or that would write to one place."""
    first, seen = tasks[0], dict[str, str]()
    for task in tasks:
        for option in COMMON:
            one, other = getattr(first.config, option), getattr(task.config, option)
            if one != other:
                raise ConfigError(
                    f"{path}: {option} is {one!r} for task {first.name!r} and {other!r} for {task.name!r}; all tasks "
                    "of a file share one base: set it once, for all, or make two files"
                )
        other = seen.setdefault(task.name.lower(), task.name)
        if other != task.name:
            raise ConfigError(f"{path}: the tasks {other!r} and {task.name!r} are one folder on some disks; rename one")
