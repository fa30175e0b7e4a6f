"""Classification with a decoder: the scores of label words among the next token's (Schick & Schütze 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .encoder import EncoderRow
from .engine import Decoder
from .generation import MAX_ROWS
from .memory import Memory


class WordClassifier:
    """A decoder that answers as `Encoder` does. It holds no state of a call, so threads may share it."""

    def __init__(self, decoder: Decoder, memory: Memory):
        self._decoder, self._memory = decoder, memory

    def class_logits(self, rows: Sequence[EncoderRow]) -> list[np.ndarray]:
        """The logits [C] of every row: of each label the mean over its words, after the row's last token.

        Rows with different adapters run together, of like length, at most 16 and as many as the memory limit allows.
        """
        order = sorted(range(len(rows)), key=lambda r: len(rows[r].token_ids))
        results: list[np.ndarray] = [np.empty(0)] * len(rows)
        lengths = [len(rows[r].token_ids) + rows[r].adapter.info.virtual_tokens for r in order]
        for places in self._memory.groups(lengths, MAX_ROWS):
            group = order[places.start : places.stop]
            ids = [np.asarray(rows[r].token_ids, np.int64) for r in group]
            logits, _ = self._decoder.prefill(ids, [rows[r].adapter for r in group])
            for r, scores in zip(group, logits):
                words = rows[r].adapter.metadata.label_words
                results[r] = np.array([scores[list(tokens)].mean() for tokens in words], np.float32)
        return results
