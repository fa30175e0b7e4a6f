"""The power fails: from one call to the system on, none comes back."""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable
from typing import Any

import pytest

CALLS = ("open", "fsync", "replace", "unlink", "mkdir")
"""Of `os`, beside the built-in `open`."""


class PowerFailure(BaseException):
    """Nothing of ours catches it to go on."""


def ends_before(
    fails_at: int, action: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, part: str
) -> tuple[bool, int]:
    """Whether the action ends where the call number `fails_at`, and each after it, fails; and how many it made.

    Calls that touch the disk count, those with a path that `part` is not in do not.
    """
    calls = 0

    def counted(inner: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            if args and part not in str(args[0]) and not isinstance(args[0], int):
                return inner(*args, **kwargs)
            calls += 1
            if calls >= fails_at:
                raise PowerFailure
            return inner(*args, **kwargs)

        return call

    with monkeypatch.context() as patched:
        for name in CALLS:
            patched.setattr(os, name, counted(getattr(os, name)))
        patched.setattr(builtins, "open", counted(builtins.open))
        try:
            action()
        except PowerFailure:
            return False, calls
    return True, calls
