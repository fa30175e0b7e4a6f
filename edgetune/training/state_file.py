"""A run's state as one file, so that its tensors and its figures are always of the same save."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from edgetune.errors import ConfigError
from edgetune.output import write_atomic
from edgetune.training.state import Course, State

FORMAT, FORMAT_VERSION = "edgetune-run", 1
KEY = "edgetune"
"""Of the file's header, under which everything that is no tensor lies as JSON."""


@dataclass(frozen=True)
class Saved:
    """What a run writes down to be continued.

    Attributes:
        options: those that the rest of the run depends on, with their values.
        contents: hashes of what it works on.
        machine: what may change the last bits of a result.
        log_bytes: how much of the log belongs to the steps done.
    """

    state: State
    options: dict[str, Any]
    contents: dict[str, str]
    machine: dict[str, Any]
    log_bytes: int


def write_state(path: Path, saved: Saved) -> None:
    """The file is on the disk and holds `saved`, or what it held before."""
    plain = {name: getattr(saved, name) for name in ("options", "contents", "machine", "log_bytes")}
    header = {"format": FORMAT, "format_version": FORMAT_VERSION, "course": asdict(saved.state.course), **plain}
    tensors = {name: x.cpu().contiguous() for name, x in saved.state.tensors.items()}
    write_atomic(path, save(tensors, {KEY: json.dumps(header)}))


def read_state(path: Path) -> Saved:
    """What `write_state` wrote.

    Raises:
        ConfigError: the file is damaged, or its version is another.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header: dict[str, Any] = json.loads((file.metadata() or {}).get(KEY, "{}"))
            version = (header.pop("format", None), header.pop("format_version", None))
            if version != (FORMAT, FORMAT_VERSION):
                raise ConfigError(f"{path} is of version {version}; this edgetune continues {(FORMAT, FORMAT_VERSION)}")
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            return Saved(State(Course(**header.pop("course")), tensors), **header)
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}. Start over with --force") from error
