"""`edgetune demo`: the whole way on real data, offline."""

from __future__ import annotations

import click


@click.command()
@click.option("--out", default="demo", show_default=True, help="Folder for the adapters and the bundle.")
@click.option("--steps", default=200, show_default=True, type=click.IntRange(1), help="Optimiser steps a method.")
@click.option("--force", is_flag=True, help="Replace an earlier demo.")
def command(out: str, steps: int, force: bool) -> None:
    """Tune a real encoder two ways on voice commands, export both on one base, run them, compare them."""
    from rich.console import Console

    from edgetune.demo import run_demo

    run_demo(out, steps, force=force, console=Console())
