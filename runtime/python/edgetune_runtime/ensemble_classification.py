"""One classification from those of an ensemble's members."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .adapter import Adapter
from .encoder import classification_of, probabilities_of
from .errors import AdapterError
from .results import Classification


def check_labels(members: Sequence[Adapter]) -> None:
    """Members are of one task: raises AdapterError where their labels differ; the order may."""
    first = members[0]
    for other in members[1:]:
        if set(other.info.labels) != set(first.info.labels):
            raise AdapterError(
                f"{first.info.name!r} and {other.info.name!r} have different labels, so they are no ensemble. "
                "Members are adapters of one task."
            )


def joint_classification(
    logits: Sequence[np.ndarray], members: Sequence[Adapter], combine: str, top_k: int | None = None
) -> Classification:
    """One answer from each member's logits [C]. Labels are in the order of the first member.

    The scores are the mean probabilities, or of a vote each label's share of the members; of labels with as many
    votes the one with more mean probability wins.
    """
    labels = members[0].info.labels
    each = np.stack([
        probabilities_of(x)[[member.info.labels.index(label) for label in labels]]
        for x, member in zip(logits, members)
    ])  # fmt: skip
    mean = each.mean(0)
    if combine == "average":
        return classification_of(mean, labels, top_k)
    votes = np.bincount(each.argmax(1), minlength=len(labels)) / len(members)
    return classification_of(votes, labels, top_k, among_equals=mean)
