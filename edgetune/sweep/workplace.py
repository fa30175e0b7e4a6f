"""The folder beside a result of many runs in which they are kept until it is whole: what is in it survives a kill."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetune.errors import ConfigError, OutputExistsError
from edgetune.output import write_atomic
from edgetune.training.unfinished import folder_of, refuse_changes, refuse_company

FORMAT, FORMAT_VERSION = "edgetune-unfinished", 1
PLAN, LOCK, PUBLISHED = "plan.json", "lock", "published"
OURS = re.compile(r"(\.?(plan\.json|lock|published|study\.db|trials|run-\d+)|ray-[0-9a-f]{8})([.-].*)?")
"""What such a folder may hold; one without a plan and with anything else is somebody's."""


@dataclass(frozen=True)
class Workplace:
    """`OUT.run`, held by this process alone.

    Attributes:
        continued: it was begun before.
    """

    folder: Path
    continued: bool

    def publishes(self, figures: bytes) -> None:
        """The result is whole and appears next; its figures tell it from any other."""
        write_atomic(self.folder / PUBLISHED, hashlib.sha256(figures).hexdigest())

    def remove(self) -> None:
        """The plan goes first: without it there is nothing to continue."""
        (self.folder / PLAN).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def workplace(out: str | Path, kind: str, plan: Mapping[str, Any], *, force: bool, resume: bool) -> Iterator[Workplace]:
    """The workplace of a `sweep` or a `comparison`, new or continued; it stays where it is until it is removed.

    `plan` holds what must not change in between: values by name, and hashes by names with a space in them.

    Raises:
        ConfigError: `resume`, and it was begun with another plan.
        OutputExistsError: as `refuse_unfinished`; or another process works there.
    """
    refuse_unfinished(out, kind, force=force, resume=resume)
    folder = folder_of(out)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a", encoding="utf-8") as lock:
        refuse_company(lock, folder)
        then = saved_plan(folder)
        if resume and then is not None:
            refuse_changes(folder, then["plan"], json.loads(json.dumps(plan)))
        else:
            emptied(folder)
            whole = {"format": FORMAT, "format_version": FORMAT_VERSION, "kind": kind, "plan": plan}
            write_atomic(folder / PLAN, json.dumps(whole, ensure_ascii=False, indent=1) + "\n")
        yield Workplace(folder, continued=resume)


def refuse_unfinished(out: str | Path, kind: str, *, force: bool, resume: bool) -> None:
    """Before any work.

    Raises:
        ConfigError: there is nothing to resume.
        OutputExistsError: something was left there and neither `resume` nor `force` is given, or it is not ours.
    """
    folder = folder_of(out)
    then = saved_plan(folder)
    if then is None and not is_ours(folder):
        raise OutputExistsError(f"{folder} is needed until the {kind} is done and holds something else. "
                                "Name another --out")  # fmt: skip
    if resume and then is None:
        raise ConfigError(f"nothing to resume: there is no {folder / PLAN}. Start the {kind} without --resume")
    if then is not None and then["kind"] != kind:
        raise OutputExistsError(f"{folder} holds an unfinished {then['kind']}. Name another --out")
    if then is not None and not resume and not force:
        raise OutputExistsError(
            f"{folder} holds an unfinished {kind}: continue with --resume, or start over with --force"
        )


def published(out: str | Path, figures: str) -> bool:
    """It was killed after its result had appeared and before its workplace was gone; `figures` is a file of both."""
    try:
        digest = hashlib.sha256(Path(out, figures).read_bytes()).hexdigest()
        return digest == (folder_of(out) / PUBLISHED).read_text("utf-8")
    except OSError:
        return False


def saved_plan(folder: Path) -> dict[str, Any] | None:
    """None where there is none of ours."""
    try:
        whole = json.loads((folder / PLAN).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(whole, dict) or whole.get("format") != FORMAT:
        return None
    if whole.get("format_version") != FORMAT_VERSION:
        version = whole.get("format_version")
        raise ConfigError(f"{folder / PLAN} is of version {version}; this edgetune continues {FORMAT_VERSION}")
    return whole


def is_ours(folder: Path) -> bool:
    """Not there, or killed before its plan was written or while it was removed."""
    if not os.path.lexists(folder):
        return True
    return folder.is_dir() and all(OURS.fullmatch(path.name) for path in folder.iterdir())


def emptied(folder: Path) -> None:
    """But for the lock; the plan goes first."""
    (folder / PLAN).unlink(missing_ok=True)
    for path in folder.iterdir():
        if path.name != LOCK:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
