"""Entities of a row of BIO tags (Ramshaw & Marcus 1995), as conlleval and seqeval count them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

OUTSIDE = "O"

Entity = tuple[str, int, int]
"""Its kind, the first of its words and the last."""


def is_bio(labels: Iterable[str]) -> bool:
    """Whether these are tags of that form: `O`, `B-…`, `I-…`."""
    others = [label for label in labels if label != OUTSIDE]
    return bool(others) and all(label[:2] in ("B-", "I-") and len(label) > 2 for label in others)


def entities(tags: Sequence[str]) -> list[Entity]:
    """`B-` begins an entity; so does `I-` that goes on with none of its kind."""
    found: list[Entity] = []
    for i, tag in enumerate(tags):
        mark, _, kind = tag.partition("-")
        if mark == "I" and found and found[-1][0] == kind and found[-1][2] == i - 1:
            found[-1] = (kind, found[-1][1], i)
        elif mark in ("B", "I"):
            found.append((kind, i, i))
    return found
