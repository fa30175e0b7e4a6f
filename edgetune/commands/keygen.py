"""`edgetune keygen`: a key pair to sign with."""

from __future__ import annotations

import click

from edgetune.commands.password import VARIABLE, new_password
from edgetune.config import CURVES


@click.command()
@click.argument("key")
@click.option("--curve", type=click.Choice(CURVES), default=CURVES[0], show_default=True, help="Of the key.")
@click.option(
    "--password",
    "protected",
    is_flag=True,
    help=f"Protect the private key: asked for, or in {VARIABLE}.",
)
@click.option("--force", is_flag=True, help="Replace a key that is already there, for good.")
def command(key: str, curve: str, protected: bool, force: bool) -> None:
    """Write a private key to KEY, which signs and stays with you, and the public one beside it (.pub), for apps."""
    from edgetune.signing import new_key

    private, public = new_key(key, curve, new_password() if protected else None, force=force)
    click.echo(f"{private} signs: keep it secret\n{public} goes into apps: load(..., trusted_keys=[...])", err=True)
