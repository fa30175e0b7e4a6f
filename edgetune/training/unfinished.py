"""The folder beside a result in which a run keeps its state and its log until it is finished."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import torch

from edgetune.config import TrainConfig
from edgetune.errors import ConfigError, EdgetuneError, OutputExistsError
from edgetune.training.state import State
from edgetune.training.state_file import Saved, read_state, write_state

if sys.platform != "win32":
    import fcntl

STATE, LOG = "state.safetensors", "log.jsonl"
HALF_WRITTEN = f".{STATE}.partial-*"

FREE = frozenset({"model", "data", "eval_data", "columns", "save_every", "tensorboard"})
"""Options that may differ when a run is continued: the first four name what is compared by content."""

log = logging.getLogger(__name__)


class Unfinished:
    """One run's state and log; `saved` is where it was left, None for one that starts."""

    def __init__(self, folder: Path, config: TrainConfig, saved: Saved | None, lines: TextIO) -> None:
        self.folder, self.config, self.saved, self.lines = folder, config, saved, lines
        self.contents: dict[str, str] | None = None

    @property
    def step(self) -> int:
        """Steps done when it was left."""
        return self.saved.state.course.step if self.saved else 0

    @property
    def begun(self) -> bool:
        return self.contents is not None

    def begin(self, contents: dict[str, str]) -> State | None:
        """The state to go on from; None at the start.

        Raises:
            ConfigError: something is not what the run was begun with.
        """
        if self.saved:
            refuse_changes(self.folder, self.saved.contents, contents)
        self.contents = contents
        return self.saved.state if self.saved else None

    def due(self, step: int, evaluated: bool) -> bool:
        """A state is worth saving after this step."""
        every = self.config.save_every
        return every > 0 and (evaluated or step % every == 0)

    def save(self, state: State) -> None:
        """From now on the run continues from here; a failure leaves the state before."""
        if not self.config.save_every:
            return
        assert self.contents is not None, "begin comes first"
        self.lines.flush()
        os.fsync(self.lines.fileno())
        size = os.fstat(self.lines.fileno()).st_size
        write_state(self.folder / STATE, Saved(state, options_of(self.config), self.contents, machine(), size))

    def record(self, entry: dict[str, Any]) -> None:
        """A line of the log."""
        self.lines.write(json.dumps({name: value for name, value in entry.items() if value is not None}) + "\n")


@contextmanager
def unfinished(out: str | Path, config: TrainConfig, *, force: bool, resume: bool) -> Iterator[Unfinished]:
    """The run towards `out`, new or continued. Its folder vanishes when the block ends; an interruption leaves it.

    Errors of ours would come again, so after them nothing is left either, unless it was there before and not taken up.

    Raises:
        ConfigError: there is nothing to resume, or it was begun with other options.
        OutputExistsError: another run is under way there, or was left and neither `resume` nor `force` is given.
    """
    folder = folder_of(out)
    if resume and not (folder / STATE).is_file():
        raise ConfigError(f"nothing to resume: there is no {folder / STATE}. Start the run without --resume")
    refuse_strangers(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOG).open("a", encoding="utf-8", buffering=1) as lines:
        refuse_company(lines, folder)
        saved = saved_state(folder, config, resume=resume, force=force)
        lines.truncate(saved.log_bytes if saved else 0)
        run = Unfinished(folder, config, saved, lines)
        try:
            yield run
        except BaseException as error:
            if (isinstance(error, EdgetuneError) and run.begun) or not (folder / STATE).is_file():
                lines.close()
                remove(folder)
            raise
    remove(folder)


def folder_of(out: str | Path) -> Path:
    """`OUT.run`, on the same file system as `OUT`."""
    target = Path(os.path.realpath(out))
    return target.with_name(f"{target.name}.run")


def steps_kept(out: str | Path) -> int | None:
    """After how many steps --resume would continue; None where there is nothing to continue."""
    path = folder_of(out) / STATE
    return read_state(path).state.course.step if path.is_file() else None


def saved_state(folder: Path, config: TrainConfig, *, resume: bool, force: bool) -> Saved | None:
    if resume:
        saved = read_state(folder / STATE)
        refuse_changes(folder, saved.options, options_of(config))
        warn_of_machine(saved.machine)
        return saved
    if (folder / STATE).exists() and not force:
        raise OutputExistsError(f"{folder} holds an unfinished run: continue with --resume, or start over with --force")
    (folder / STATE).unlink(missing_ok=True)
    return None


def options_of(config: TrainConfig) -> dict[str, Any]:
    return {name: value for name, value in asdict(config).items() if name not in FREE}


def refuse_changes(folder: Path, then: dict[str, Any], now: dict[str, Any]) -> None:
    changed = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    if changed:
        # options have values to tell, contents have hashes
        told = [f"{x} ({then.get(x)!r}, now {now.get(x)!r})" if x.isidentifier() else x for x in changed]
        raise ConfigError(
            f"the run in {folder} was begun with other values of {', '.join(told)}. Give what it was begun with, or "
            "start over with --force instead of --resume"
        )


def refuse_strangers(folder: Path) -> None:
    """A folder that is not ours is never written into or removed."""
    if not os.path.lexists(folder):
        return
    if not folder.is_dir() or {path.name for path in folder.iterdir()} - {path.name for path in ours(folder)}:
        raise OutputExistsError(f"{folder} is needed for the run's state and holds something else. Name another --out")


def refuse_company(lines: TextIO, folder: Path) -> None:
    """The system lets go of the lock when a process ends, however it ends. Windows and some network disks have none."""
    if sys.platform == "win32":
        return
    try:
        fcntl.flock(lines, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OutputExistsError(f"another run is under way in {folder}. Wait for it, or name another --out") from error
    except OSError as error:
        log.debug("no lock on %s: %s", folder, error)


def machine() -> dict[str, Any]:
    """What the last bits of a sum may depend on."""
    return {
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }


def warn_of_machine(then: dict[str, Any]) -> None:
    for name, value in machine().items():
        if then.get(name) != value:
            text = "%s is %s and was %s when the run was left: the result may differ in its last bits"
            log.warning(text, name, value, then.get(name))


def ours(folder: Path) -> list[Path]:
    """In the order in which they may vanish: without a state there is nothing to continue."""
    return [folder / STATE, *folder.glob(HALF_WRITTEN), folder / LOG]


def remove(folder: Path) -> None:
    for path in ours(folder):
        path.unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        folder.rmdir()
