"""The password of a private key: from the environment, or asked for at a terminal."""

from __future__ import annotations

import os
import sys

import click

VARIABLE = "EDGETUNE_KEY_PASSWORD"


def password_of(key: str) -> str:
    """Of a key that is there; raises UsageError where nobody can be asked."""
    given = os.environ.get(VARIABLE)
    if given is not None:
        return given
    refuse_silence(f"{key} has a password")
    return click.prompt(f"Password of {key}", hide_input=True, err=True)


def new_password() -> str:
    """Of a new key, asked for twice; raises UsageError for an empty one, and where nobody can be asked."""
    given = os.environ.get(VARIABLE)
    if given is None:
        refuse_silence("a password is wanted")
        given = click.prompt("Password of the new key", hide_input=True, confirmation_prompt=True, err=True)
    if not given:
        raise click.UsageError(f"the password in {VARIABLE} is empty")
    return given


def refuse_silence(why: str) -> None:
    """Raises UsageError unless someone is at a terminal."""
    if not sys.stdin.isatty():
        raise click.UsageError(f"{why}, and there is no terminal to ask at. Set {VARIABLE}")
