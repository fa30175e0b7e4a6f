"""The training runs of a comparison on one base."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgetune.adapter import Adapter
from edgetune.comparison.plan import Plan, Run
from edgetune.data.rows import Conversation
from edgetune.errors import DataError
from edgetune.metrics import better
from edgetune.models.base import Base
from edgetune.sweep.runs import Sets, kept_run, sets_of
from edgetune.sweep.variant import Variant
from edgetune.training.loop import Outcome, Progress
from edgetune.training.result import CONFIG


class Watch(Protocol):
    """Who is told how far a comparison has come."""

    def run(self, run: Run) -> AbstractContextManager[Callable[[Progress], None]]:
        """Around one run; what it gives is called with each step."""
        ...

    def stage(self, name: str) -> None: ...


@dataclass(frozen=True)
class Trained:
    """A run with what it left and what was seen on the way."""

    run: Run
    adapter: Adapter
    outcome: Outcome
    seen: Sequence[Progress]


def measurable_sets(plan: Plan) -> Sets:
    """Raises DataError for rows that cannot be used, or chats to measure on: the runtime has no templates."""
    sets = sets_of(plan.config)
    for row in sets.held_out.rows:
        if isinstance(row, Conversation):
            raise DataError(
                f"{sets.held_out.path}:{row.line}: chats cannot be measured on the exported bundle, which has no "
                "template; give --eval-data rows with prompt and completion"
            )
    return sets


def trained_run(run: Run, base: Base, watch: Watch, folder: Path) -> Trained:
    """Kept in the folder under its number."""
    with watch.run(run) as tell:
        kept = kept_run(folder / f"run-{run.number}", run.config, base, tell)
    return Trained(run, kept.adapter, kept.outcome, kept.seen)


def of_variant(trained: Sequence[Trained], variant: Variant) -> list[Trained]:
    return [one for one in trained if one.run.variant.name == variant.name]


def best_of(trained: Sequence[Trained], variant: Variant) -> Trained:
    """Of the variant's seeds, by the held-out rows; of equals the first."""
    best, *others = of_variant(trained, variant)
    for other in others:
        assert other.outcome.metrics is not None, "every run is evaluated at its end"
        if better(other.outcome.metrics, best.outcome.metrics):
            best = other
    return best


def keep(one: Trained, folder: Path) -> None:
    """As `edgetune train` leaves it, but for the log."""
    folder.mkdir(parents=True)
    one.adapter.save(folder)
    (folder / CONFIG).write_text(one.run.config.toml(), encoding="utf-8")
