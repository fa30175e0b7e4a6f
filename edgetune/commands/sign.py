"""`edgetune sign`: a signature over a bundle or an adapter, in the format of OpenSSF Model Signing."""

from __future__ import annotations

import click

from edgetune.commands.password import VARIABLE, password_of


@click.command()
@click.argument("path", metavar="BUNDLE|ADAPTER")
@click.option(
    "--key",
    required=True,
    help=f"Private key in PEM, of `edgetune keygen` or another; its password is asked for, or in {VARIABLE}.",
)
def command(path: str, key: str) -> None:
    """Sign a bundle's folder (into model.sig) or an adapter's .safetensors (into a .sig beside it)."""
    from edgetune.signing import signed

    target, statement = signed(path, key, lambda: password_of(key))
    count = len(statement.files)
    what = f"{count} file{'s' if count > 1 else ''} signed with the key {statement.key.hint[:16]}…"
    click.echo(f"{target}: {what}", err=True)
