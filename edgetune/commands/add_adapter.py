"""`edgetune add-adapter`: one more task for a base that is already on the device."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("bundle")
@click.argument("adapter")
@click.option("--name", help="Its name in the bundle.  [default: the folder's]")
@click.option("--model", help="Base model, needed for a decoder's prompt.  [default: the one it was tuned on]")
@click.option(
    "--adapter-version", type=click.IntRange(0), help="The file says that it is this version: stores go up only."
)
@click.option("--force", is_flag=True, help="Replace an adapter of that name.")
def command(
    bundle: str, adapter: str, name: str | None, model: str | None, adapter_version: int | None, force: bool
) -> None:
    """Add the adapter in folder ADAPTER to BUNDLE."""
    from edgetune_export.addition import add_adapter, needs_base
    from edgetune_runtime.signed_files import SIGNATURE

    from edgetune.adapter import load_adapter

    loaded = load_adapter(adapter)
    base = None
    if needs_base(loaded):
        from edgetune.models.base import load_base

        base = load_base(model or loaded.base_name, loaded.purpose)
    path = add_adapter(bundle, name or Path(adapter).resolve().name, loaded, base, force=force, version=adapter_version)
    click.echo(f"{path} ({path.stat().st_size:,} bytes) added to {bundle}", err=True)
    if (signature := Path(bundle, SIGNATURE)).is_file():
        click.echo(f"{signature} is not of this bundle any more: sign it again with `edgetune sign`", err=True)
