"""The loop of many tasks: every task that is not done makes its next step, all of them in one pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from edgetune.errors import EdgetuneError, Terminated
from edgetune.together.learning import joint_gradients, measured_together
from edgetune.together.member import Member
from edgetune.training.examples import Example
from edgetune.training.termination import noted_termination

Failed = Callable[[Member, EdgetuneError], None]


def fit_together(members: Sequence[Member], finished: Callable[[Member], None], failed: Failed) -> None:
    """Trains each task as `fit` does on its own, up to rounding: what a task draws, learns and keeps is a matter of its
    own, whoever is beside it. `finished` is called with each that is done, `failed` with each that cannot go on.

    States are saved for all at once, so that tasks which are continued meet as they did before.

    Raises:
        ConfigError: a run that was left was begun with something else; nothing is changed then.
        Terminated: SIGTERM came, and states were saved behind the step that was under way.
    """
    for member in members:
        member.refuse_changes()
    for member in members:
        member.begin()
    evaluate([member for member in members if member.config.steps == 0 and member.work.held_out])
    active = list(members)
    with noted_termination(together=False) as notice:
        while active:
            done = [member for member in active if member.done]
            if done:
                save(active)
                for member in done:
                    finished(member)
                active = [member for member in active if member not in done]
                continue
            if notice.given:
                save(active)
                kept = (
                    "continue with --resume" if any(x.config.save_every for x in active) else "nothing of them is kept"
                )
                raise Terminated(f"stopped with {len(active)} of {len(members)} tasks under way; {kept}")
            active = step(active, failed)
            due = [member for member in active if member.evaluates()]
            evaluate(due)
            if any(member.run.due(member.course.step, member in due) for member in active):
                save(active)


def step(members: Sequence[Member], failed: Failed) -> list[Member]:
    """One step of each; those that could make it."""
    start, drawn = time.perf_counter(), dict[Member, list[Example]]()
    for member in members:
        try:
            drawn[member] = member.draw()
        except EdgetuneError as error:
            failed(member, error)
    if not drawn:
        return []
    losses = joint_gradients([(member.tuned, rows) for member, rows in drawn.items()], members[0].learner.products)
    seconds, every = time.perf_counter() - start, sum(map(len, drawn.values()))
    going = []
    for (member, rows), loss in zip(drawn.items(), losses):
        try:
            member.step(loss, len(rows), seconds * len(rows) / every)
            going.append(member)
        except EdgetuneError as error:
            failed(member, error)
    return going


def evaluate(members: Sequence[Member]) -> None:
    if members:
        for member, metrics in zip(members, measured_together([(x.tuned, x.work.held_out) for x in members])):
            member.judge(metrics)


def save(members: Iterable[Member]) -> None:
    for member in members:
        member.save()
