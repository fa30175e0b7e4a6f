"""Inputs that only those graphs have that were exported with an adapter that needs them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .adapter import Adapter
from .layer_lengths import skipped_by
from .manifest import Graph
from .suffix import joined_suffixes

SUFFIX, SKIPPED = "suffix_embeds", "skipped"


def optional_inputs(graph: Graph) -> list[str]:
    """Their names."""
    return [name for name, has in ((SUFFIX, graph.suffixes), (SKIPPED, graph.layer_lengths)) if has]


def optional_feeds(adapters: Sequence[Adapter | None], graph: Graph, dtype: type[np.floating]) -> dict[str, np.ndarray]:
    """`suffix_embeds [B, Q, E]` and `skipped [B, L]` of the rows' adapters, where the graph takes them."""
    feeds = {}
    if graph.suffixes:
        feeds[SUFFIX] = joined_suffixes(adapters, graph.embedding_size, dtype)
    if graph.layer_lengths:
        feeds[SKIPPED] = skipped_by([adapter.past if adapter else () for adapter in adapters], len(graph.layers))
    return feeds
