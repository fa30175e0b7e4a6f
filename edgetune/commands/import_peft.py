"""`edgetune import-peft`: an adapter of Hugging Face PEFT becomes ours."""

from __future__ import annotations

import click


@click.command()
@click.argument("folder", metavar="DIR")
@click.option("--out", required=True, help="Folder for the adapter.")
@click.option("--model", help="Base model.  [default: the one that the adapter names]")
@click.option("--task-id", type=int, help="Which task of a multitask prompt, from 0.")
@click.option("--labels", help="Names of a classifier's classes, in order: A,B,C.  [default: the base's]")
@click.option("--force", is_flag=True, help="Replace an adapter that is already there.")
def command(folder: str, out: str, model: str | None, task_id: int | None, labels: str | None, force: bool) -> None:
    """Turn the PEFT adapter in folder DIR into an adapter of edgetune."""
    from edgetune.adapter import DESCRIPTION
    from edgetune.models.base import load_base
    from edgetune.output import new_folder
    from edgetune.peft import adapter_on
    from edgetune.peft.classifier import refuse_new_pooler
    from edgetune.peft.stored import read_peft

    with new_folder(out, force=force, marker=(DESCRIPTION,)) as partial:
        stored = read_peft(folder, task_id)
        base = load_base(model or stored.base_name, stored.task)
        refuse_new_pooler(stored, base)
        named = tuple(name.strip() for name in labels.split(",")) if labels else ()
        adapter_on(stored, base, named).save(partial)
    told = f"{stored.kind}, {stored.length} virtual tokens on {base.name}, in {out}"
    click.echo(f"{told}; next: edgetune export --model {base.name} --adapter {out} --out BUNDLE", err=True)
