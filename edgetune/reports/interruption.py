"""What is told of work that ends in the middle: how much of it is kept, and how it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edgetune.errors import EdgetuneError


@contextmanager
def telling_what_is_kept(
    tell: Callable[[], None], *, but: tuple[type[BaseException], ...] = (EdgetuneError,)
) -> Iterator[None]:
    """`tell` is called where something ends the block that is none of `but`, which say themselves what comes next."""
    try:
        yield
    except but:
        raise
    except BaseException:
        tell()
        raise
