"""Answers of an encoder: batches of texts with different adapters in, rows of logits out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import onnxruntime as ort

from .adapter import Adapter
from .heads import joined_heads
from .layer import Layer
from .manifest import Manifest
from .memory import Memory
from .optional_inputs import optional_feeds
from .results import Classification
from .session import element_type, past_names
from .suffix import with_suffix

MAX_ROWS = 32
"""Rows in one run; more gain nothing on a CPU and cost memory."""


@dataclass(frozen=True, eq=False)
class EncoderRow:
    """One text and the task it is for."""

    token_ids: Sequence[int] | np.ndarray
    """[T]."""
    adapter: Adapter


class Classifier(Protocol):
    """What gives the scores of classes: an encoder, or a decoder with label words."""

    def class_logits(self, rows: Sequence[EncoderRow]) -> list[np.ndarray]:
        """The logits [C] of every row."""
        ...


class Encoder:
    """The graph of an encoder, shared or standalone. It holds no state, so threads may share it."""

    def __init__(self, session: ort.InferenceSession, manifest: Manifest, memory: Memory):
        self._session, self._manifest, self._memory = session, manifest, memory
        self._shared = manifest.form == "shared"
        self._names = past_names(len(manifest.graph.layers))
        self._dtype = element_type(session, "head.weight") if self._shared else np.float32

    def class_logits(self, rows: Sequence[EncoderRow]) -> list[np.ndarray]:
        """The logits [C] of every row, float32, C being the number of its own adapter's labels; 1 for a regression.

        A graph that tags gives them for every token, [T, C].

        Rows of like length run together, whatever their adapters are: at most 32, and as many as the memory limit
        allows.
        """
        order = sorted(range(len(rows)), key=lambda r: len(rows[r].token_ids))
        results: list[np.ndarray] = [np.empty(0)] * len(rows)
        lengths = [len(rows[r].token_ids) + rows[r].adapter.info.virtual_tokens for r in order]
        for places in self._memory.groups(lengths, MAX_ROWS):
            group = order[places.start : places.stop]
            for r, logits in zip(group, self._run([rows[r] for r in group])):
                results[r] = logits
        return results

    def _run(self, texts: Sequence[EncoderRow]) -> list[np.ndarray]:
        rows = texts
        if self._manifest.graph.suffixes:
            vocab_size = self._manifest.graph.vocab_size
            rows = [replace(row, token_ids=with_suffix(row.token_ids, row.adapter, vocab_size)) for row in texts]
        input_ids, mask = padded(rows, self._manifest.tokenizer.pad_token_id or 0)
        if not self._shared:
            return self._of_rows(self._logits({"input_ids": input_ids, "attention_mask": mask}), texts)
        adapters = [row.adapter for row in rows]
        heads = list(dict.fromkeys(adapters))
        first_class = dict(zip(heads, np.cumsum([0] + [len(a.head_bias) for a in heads]).tolist()))
        graph = self._manifest.graph
        pasts = [adapter.past for adapter in adapters]
        prefix_mask = front_mask([a.prefix_tokens for a in adapters])
        prompt_mask = front_mask([a.prompt_tokens for a in adapters])
        logits = self._logits(
            {
                "input_ids": input_ids,
                "attention_mask": np.concatenate([prefix_mask, prompt_mask, mask], axis=1),
                "prompt_embeds": joined_prompts(adapters, prompt_mask.shape[1], graph.embedding_size, self._dtype),
                **dict(zip(self._names, joined_pasts(pasts, prefix_mask.shape[1], graph.layers, self._dtype))),
                **joined_heads(heads, graph.hidden_size, self._dtype, dense=graph.dense_heads),
                **optional_feeds(adapters, graph, self._dtype),
            }
        )
        own = [slice(first_class[a], first_class[a] + len(a.head_bias)) for a in adapters]
        return [row[..., columns] for row, columns in zip(self._of_rows(logits, texts), own)]

    def _of_rows(self, logits: np.ndarray, texts: Sequence[EncoderRow]) -> list[np.ndarray]:
        """[B, C] or [B, T, C] → each row's, without those of padding and of virtual tokens behind the text."""
        if self._manifest.graph.pooling != "each":
            return list(logits)
        return [of_row[: len(row.token_ids)] for of_row, row in zip(logits, texts)]

    def _logits(self, feeds: dict[str, np.ndarray]) -> np.ndarray:
        return np.asarray(self._session.run(["logits"], feeds)[0], np.float32)


def padded(rows: Sequence[EncoderRow], pad_token_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Token ids and mask, [B, T] int64, padded behind."""
    longest = max(len(row.token_ids) for row in rows)
    input_ids = np.full((len(rows), longest), pad_token_id, np.int64)
    mask = np.zeros((len(rows), longest), np.int64)
    for r, row in enumerate(rows):
        input_ids[r, : len(row.token_ids)] = row.token_ids
        mask[r, : len(row.token_ids)] = 1
    return input_ids, mask


def front_mask(lengths: Sequence[int]) -> np.ndarray:
    """[B, longest] int64: ones at the end of each row, so that shorter virtual tokens sit next to the text."""
    longest = max(lengths)
    return (np.arange(longest) >= longest - np.asarray(lengths)[:, None]).astype(np.int64)


def joined_prompts(adapters: Sequence[Adapter], longest: int, size: int, dtype: type[np.floating]) -> np.ndarray:
    """[B, longest, size], shorter prompts at the end of their rows."""
    joined = np.zeros((len(adapters), longest, size), dtype)
    for row, adapter in enumerate(adapters):
        if adapter.prompt is not None and adapter.prompt_tokens:
            joined[row, -adapter.prompt_tokens :] = adapter.prompt[0]
    return joined


def joined_pasts(
    pasts: Sequence[Sequence[np.ndarray]], longest: int, layers: Sequence[Layer], dtype: type[np.floating]
) -> list[np.ndarray]:
    """2·L of [B, K, longest, D], shorter prefixes at the end of their rows; `pasts` are B of 2·L, or empty.

    Those of one row that fit as they are are not copied.
    """
    if len(pasts) == 1 and pasts[0] and all(x.dtype == dtype and x.shape[2] == longest for x in pasts[0]):
        return list(pasts[0])
    joined = [np.zeros((len(pasts), x.key_value_heads, longest, x.head_size), dtype) for x in layers for _ in range(2)]
    for row, past in enumerate(pasts):
        for buffer, x in zip(joined, past):
            buffer[row, :, longest - x.shape[2] :] = x[0]
    return joined


def probabilities_of(logits: np.ndarray) -> np.ndarray:
    """Softmax of [C] in float64."""
    wide = np.asarray(logits, np.float64)
    weights = np.exp(wide - wide.max())
    return weights / weights.sum()


def classification_from(logits: np.ndarray, labels: tuple[str, ...], top_k: int | None = None) -> Classification:
    """The probabilities of `labels` from logits [C]."""
    return classification_of(probabilities_of(logits), labels, top_k)


def classification_of(
    probabilities: np.ndarray, labels: tuple[str, ...], top_k: int | None = None, among_equals: np.ndarray | None = None
) -> Classification:
    """The labels in falling order of [C]; `among_equals` [C] orders those that are equal, then their place."""
    keys = (-probabilities,) if among_equals is None else (-among_equals, -probabilities)
    order = np.lexsort(keys)[:top_k].tolist()
    scores = {labels[i]: float(probabilities[i]) for i in order}
    return Classification(labels[order[0]], float(probabilities[order[0]]), scores)
