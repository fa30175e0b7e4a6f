"""Commands that several processes run together, as `torchrun` and `accelerate launch` start them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

TOGETHER = ("train", "evaluate")
"""The others are for one process."""


def refuse_alone(command: str | None) -> None:
    """Raises UsageError for a command that each of several processes would run for itself."""
    if command is not None and command not in TOGETHER and "RANK" in os.environ:
        count = os.environ.get("WORLD_SIZE") or "1"
        if count != "1":
            raise click.UsageError(
                f"{command} is for one process and a launcher started {count}; {' and '.join(TOGETHER)} run in several"
            )


@contextmanager
def processes_together() -> Iterator[Any]:
    """The processes of this command, `edgetune.training.processes.Processes`: this one alone without a launcher."""
    from edgetune.training.launched import launched_together

    with launched_together(lambda message: click.echo(f"edgetune: {message}", err=True)) as processes:
        yield processes
