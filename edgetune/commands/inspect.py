"""`edgetune inspect`: what is in an adapter or a bundle."""

from __future__ import annotations

import json

import click


@click.command()
@click.argument("path")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(path: str, as_json: bool) -> None:
    """Say what is in the adapter or bundle at PATH."""
    from edgetune.reports.inspection import inspected, table

    found = inspected(path)
    click.echo(json.dumps(found, indent=2, ensure_ascii=False) if as_json else table(found))
