"""`edgetune export-peft`: our adapter becomes one of Hugging Face PEFT."""

from __future__ import annotations

import click


@click.command()
@click.argument("adapter")
@click.option("--out", required=True, help="Folder for the PEFT adapter.")
@click.option("--model", help="Base model.  [default: the one the adapter was tuned on]")
@click.option("--force", is_flag=True, help="Replace a PEFT adapter that is already there.")
def command(adapter: str, out: str, model: str | None, force: bool) -> None:
    """Turn the adapter in folder ADAPTER into one that PEFT loads."""
    from edgetune.adapter import load_adapter
    from edgetune.models.base import load_base
    from edgetune.output import new_folder
    from edgetune.peft import write_peft
    from edgetune.peft.stored import CONFIG
    from edgetune.peft.translation import check_expressible

    with new_folder(out, force=force, marker=(CONFIG,)) as partial:
        loaded = load_adapter(adapter)
        check_expressible(loaded)
        base = load_base(model or loaded.base_name, loaded.purpose)
        write_peft(loaded, base, partial)
    click.echo(f"{loaded.method}, {loaded.virtual_tokens} virtual tokens on {base.name}, in {out} for PEFT", err=True)
