"""The run that a file and the command line ask for together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgetune.commands.options import given_options

if TYPE_CHECKING:
    from edgetune.config import TrainConfig

Options = dict[str, Any]


def configured(
    path: str | None,
    given: Mapping[str, Any],
    needed: Sequence[str] = ("model", "data", "task"),
    filled_in: Callable[[Options], Options] = lambda options: options,
) -> TrainConfig:
    """`path` is the file of --config or None, `given` the flags; `filled_in` adds what the command has by default.

    Raises ConfigError where an option that is `needed` is in neither.
    """
    from edgetune.config import TrainConfig, read_config
    from edgetune.errors import ConfigError

    values = read_config(path) if path else {}
    values.update(given_options(given))
    for name in needed:
        if not values.get(name):
            flag = name.replace("_", "-")
            raise ConfigError(f"--{flag} is missing: give it, or set {name} in the file of --config")
    from edgetune.models.base import task_named

    return TrainConfig(**filled_in({**values, "task": task_named(str(values["task"]))}))
