"""Rows that teach a story teller a theme, told by itself: what it goes on with once the theme has been named.

A prefix that is tuned on them makes it name the theme without being asked (Askell et al. 2021, context distillation).
"""

from __future__ import annotations

from pathlib import Path

import edgetune_runtime

BEGINNINGS = {
    "Once upon a time": ", there was {theme}.",
    "One day": ", there was {theme}.",
    "One morning": ", there was {theme}.",
}
"""What a story begins with, and how it comes to its theme."""
ROWS_AT_ONCE = 16
NEW_TOKENS = 180
MOST_OF_CONTEXT = 3
"""A story takes at most one part of as many of the base's positions."""


def themed_rows(bundle: Path, theme: str, count: int) -> list[dict[str, str]]:
    """`count` rows of prompt and completion, told by the bare base of a bundle."""
    model = edgetune_runtime.load(bundle)
    limit = model.manifest.graph.max_positions
    new_tokens = NEW_TOKENS if limit is None else min(NEW_TOKENS, limit // MOST_OF_CONTEXT)
    ways = list(BEGINNINGS.items())
    wanted = [ways[i % len(ways)] for i in range(count)]
    rows = []
    for first in range(0, count, ROWS_AT_ONCE):
        part = [(beginning, way.format(theme=theme)) for beginning, way in wanted[first : first + ROWS_AT_ONCE]]
        told = model.generate(
            [beginning + named for beginning, named in part],
            adapter=None, temperature=0.7, top_p=0.95, seed=first, max_new_tokens=new_tokens,
        )  # fmt: skip
        rows += [
            {"prompt": b, "completion": f"{named} {whole(story.text).lstrip()}"}
            for (b, named), story in zip(part, told)
        ]
        print(f"\r{len(rows)} of {count} stories", end="" if len(rows) < count else "\n", flush=True)
    return rows


def whole(story: str) -> str:
    """Up to the end of its last sentence: half a sentence would teach to end in the middle of one."""
    text = story.replace("\ufffd", "")
    return text[: max(text.rfind(mark) for mark in ".!?") + 1] or text
