"""Token labelling: the tag of every word from the logits at its first token, and the entities that tags make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .encoder import EncoderRow, probabilities_of
from .results import Span, Tagging
from .spans import OUTSIDE, entities, is_bio
from .words import Words


@dataclass(frozen=True, eq=False)
class TaggedRow:
    """One text on its way."""

    words: Words
    """As the caller gave them."""
    first: list[tuple[int, int] | None]
    """The row, and in it the token, that stands for each word; None for a word that the model does not see."""
    rows: list[EncoderRow]
    """One, or one a window of a long text; none where the text has no words."""


def tagging_from(tagged: TaggedRow, logits: Sequence[np.ndarray], labels: tuple[str, ...]) -> Tagging:
    """From logits [T, C] of each of its rows. A word that the model does not see is outside of every entity, with 0."""
    unseen = OUTSIDE if OUTSIDE in labels else labels[0]
    tags, scores = [], []
    for place in tagged.first:
        shares = None if place is None else probabilities_of(logits[place[0]][place[1]])
        best = -1 if shares is None else int(shares.argmax())
        tags.append(unseen if shares is None else labels[best])
        scores.append(0.0 if shares is None else float(shares[best]))
    return Tagging(tagged.words.words, tuple(tags), tuple(scores), spans_from(tagged.words, tags, scores, labels))


def spans_from(words: Words, tags: Sequence[str], scores: Sequence[float], labels: Sequence[str]) -> tuple[Span, ...]:
    """The entities, where the labels are BIO tags."""
    if not is_bio(labels):
        return ()
    return tuple(
        Span(
            label=kind,
            text=words.text[words.places[first][0] : words.places[last][1]],
            start=words.places[first][0],
            end=words.places[last][1],
            score=float(np.mean(scores[first : last + 1])),
        )
        for kind, first, last in entities(tags)
    )
