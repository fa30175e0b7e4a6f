"""`edgetune bake`: a system prompt or a few examples become an adapter, without training."""

from __future__ import annotations

from pathlib import Path

import click

from edgetune.config import STORAGES


@click.command()
@click.option("--text", "file", required=True, help="File with the text that is to stand in front of every prompt.")
@click.option("--model", help="Base model: writes an adapter's folder, for export and add-adapter.")
@click.option("--bundle", help="Bundle of a decoder, which computes by itself and takes the adapter in.")
@click.option("--name", help="Of the adapter in the bundle.  [default: the file's]")
@click.option("--out", help="Folder for the adapter, with --model.")
@click.option(
    "--storage",
    default=STORAGES[0],
    show_default=True,
    type=click.Choice(STORAGES),
    help="Of keys and values on the device.",
)
@click.option("--force", is_flag=True, help="Replace an adapter that is already there.")
def command(
    file: str, model: str | None, bundle: str | None, name: str | None, out: str | None, storage: str, force: bool
) -> None:
    """Turn a text into an adapter: a prompt behind it reads as if the text stood in front."""
    from edgetune_export.addition import add_adapter
    from edgetune_export.bake import baked, baked_by_bundle

    from edgetune.adapter import DESCRIPTION
    from edgetune.data.text import read_text
    from edgetune.models.base import load_base
    from edgetune.output import new_folder

    if (model is None) == (bundle is None):
        raise click.UsageError("give --model, for an adapter's folder, or --bundle, to add the adapter to it")
    if (model is None) != (out is None):
        raise click.UsageError("--out goes with --model: a bundle takes the adapter in")
    text = read_text(file)
    if bundle is not None:
        adapter = baked_by_bundle(bundle, text, storage)
        path = add_adapter(bundle, name or Path(file).stem, adapter, force=force)
        click.echo(
            f"{path} ({adapter.virtual_tokens} tokens, {path.stat().st_size:,} bytes) added to {bundle}", err=True
        )
        return
    assert model is not None and out is not None
    adapter = baked(load_base(model, "generate"), text, storage)
    with new_folder(out, force=force, marker=(DESCRIPTION,)) as folder:
        adapter.save(folder)
    click.echo(
        f"adapter of {adapter.virtual_tokens} tokens in {out}; next: edgetune export --model {model} "
        f"--adapter {out} --out BUNDLE",
        err=True,
    )
