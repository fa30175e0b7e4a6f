"""`edgetune verify`: who signed a bundle or an adapter, and whether it is what was signed."""

from __future__ import annotations

import json

import click


@click.command()
@click.argument("path", metavar="BUNDLE|ADAPTER")
@click.option("--key", "keys", required=True, multiple=True, help="Public key in PEM; several: one of them signed.")
@click.option("--signature", help="The signature's file.  [default: model.sig in the bundle, .sig beside the adapter]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(path: str, keys: tuple[str, ...], signature: str | None, as_json: bool) -> None:
    """Check a signature, and every file, as a device does that trusts the keys; exit code 1 if anything differs."""
    from edgetune_runtime import verify

    found = verify(path, list(keys), signature=signature)
    told = {"path": path, "key": found.key.where, "key_sha256": found.key.hint, "files": dict(found.files)}
    count = len(found.files)
    line = f"{path}: {count} file{'s' if count > 1 else ''} as signed with {found.key.where} ({found.key.hint[:16]}…)"
    click.echo(json.dumps(told, indent=2, ensure_ascii=False) if as_json else line)
