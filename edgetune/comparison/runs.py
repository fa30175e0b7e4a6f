"""The training runs of a comparison on one base."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgetune.adapter import Adapter
from edgetune.comparison.plan import Plan, Run, Variant
from edgetune.data.rows import Conversation
from edgetune.errors import DataError
from edgetune.methods.lengths import positions_taken, suffix_length
from edgetune.metrics import better
from edgetune.models.base import Base
from edgetune.training.examples import text_limit
from edgetune.training.heads import untrained
from edgetune.training.loop import Outcome, Progress
from edgetune.training.result import CONFIG
from edgetune.training.run import train
from edgetune.training.sets import Rows, examples_of, read_sets


class Watch(Protocol):
    """Who is told how far a comparison has come."""

    def run(self, run: Run) -> AbstractContextManager[Callable[[Progress], None]]:
        """Around one run; what it gives is called with each step."""
        ...

    def stage(self, name: str) -> None: ...


@dataclass(frozen=True)
class Sets:
    """The rows of a comparison."""

    train: Rows
    held_out: Rows
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Trained:
    """A run with what it left and what was seen on the way."""

    run: Run
    adapter: Adapter
    outcome: Outcome
    seen: Sequence[Progress]


def sets_of(plan: Plan) -> Sets:
    """Raises DataError for rows that cannot be used, or chats to measure on: the runtime has no templates."""
    (train_rows, held_out), labels = read_sets(plan.config)
    for row in held_out.rows:
        if isinstance(row, Conversation):
            raise DataError(
                f"{held_out.path}:{row.line}: chats cannot be measured on the exported bundle, which has no template; "
                "give --eval-data rows with prompt and completion"
            )
    return Sets(train_rows, held_out, labels)


def refuse_what_cannot_run(plan: Plan, base: Base, sets: Sets) -> None:
    """What any of the runs would refuse, before the first."""
    words = None
    for variant in plan.variants:
        words = untrained(base, variant.config, sets.labels, sets.train).words
    taken = max(positions_taken(base, variant.config) for variant in plan.variants)
    suffix = max(suffix_length(variant.config) for variant in plan.variants)
    for rows in (sets.train, sets.held_out):
        examples_of(base, rows, text_limit(base, taken, plan.config.max_length), words, suffix)


def trained_run(run: Run, base: Base, watch: Watch) -> Trained:
    seen: list[Progress] = []
    with watch.run(run) as tell:

        def step(progress: Progress) -> None:
            seen.append(progress)
            tell(progress)

        adapter, outcome = train(run.config, step, base)
    return Trained(run, adapter, outcome, seen)


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
