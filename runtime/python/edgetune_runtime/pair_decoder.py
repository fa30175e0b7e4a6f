"""Generation with an encoder–decoder: the encoder reads the texts once, the decoder writes step by step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnxruntime as ort

from .adapter import Adapter
from .cache import STEP, KeyValueCache, capacity_for
from .decoder import SharedDecoder, SharedState
from .encoder import front_mask, joined_pasts
from .encoder_decoder import EncoderDecoder, cross_names, encoder_past_names, own_names
from .engine import NOTHING
from .errors import TaskError
from .layer import Layer
from .layer_lengths import longest_of
from .manifest import Manifest
from .optional_inputs import optional_feeds
from .session import element_type
from .suffix import with_suffix


class PairDecoder(SharedDecoder):
    """Runs rows with different adapters in one batch. It holds no state of a call: see `Decoder` for its functions."""

    def __init__(self, encoder: ort.InferenceSession, decoder: ort.InferenceSession, manifest: Manifest):
        assert manifest.encoder_decoder is not None
        self._session, self._graph, self._encoder = decoder, manifest.graph, encoder
        self._pair: EncoderDecoder = manifest.encoder_decoder
        self._names = own_names(manifest.graph.layers)
        self._pad = manifest.tokenizer.pad_token_id or 0
        self._cross, self._given = cross_names(self._pair.cross_layers)
        self._cache_dtype = element_type(decoder, self._names[0][0])
        self._logits_dtype = element_type(decoder, "logits")
        self._encoder_dtype = element_type(encoder, "prompt_embeds")

    def prefill(
        self, rows: Sequence[np.ndarray], adapters: Sequence[Adapter | None], reserve: int = 0
    ) -> tuple[np.ndarray, SharedState]:
        """See `Decoder`: the texts are the encoder's, the logits those behind the token that starts a completion."""
        pasts = [adapter.decoder_past if adapter else () for adapter in adapters]
        longest = 1 + max(longest_of(past) for past in pasts)
        limit = self._graph.max_positions
        soon = longest + min(reserve, STEP)
        cache = KeyValueCache(
            self._graph.layers,
            len(rows),
            capacity_for(max(longest, soon if limit is None else min(soon, limit)), limit),
            self._cache_dtype,
        )
        for row, past in enumerate(pasts):
            cache.put_prefix(row, past)
        cross = self._read(rows, adapters)
        state = SharedState(cache, self._session, self._graph.vocab_size, self._logits_dtype, cross)
        state.fit_to_cache(self._names)
        logits, _ = self.step(np.full(len(rows), self._pair.start_token_id, np.int64), state)
        return logits, state

    def logits(
        self, token_ids: np.ndarray, adapter: Adapter | None, keep: int = 0, completion: np.ndarray = NOTHING
    ) -> np.ndarray:
        """See `Decoder`. An encoder–decoder's logits are those of a completion."""
        raise TaskError("an encoder-decoder has no logits of a text alone. Use completion_logits.")

    def completion_logits(self, token_ids: np.ndarray, completion: np.ndarray, adapter: Adapter | None) -> np.ndarray:
        """Logits [U, V], float32, of each of the U tokens of a completion [U] of the text [T]."""
        past = adapter.decoder_past if adapter and adapter.decoder_past else self._empty_past()
        written = np.concatenate([[self._pair.start_token_id], completion[:-1]]).astype(np.int64)
        feeds = self._read([token_ids], [adapter])
        feeds |= {name: x.astype(self._cache_dtype, copy=False) for name, x in zip(self._names[0], past)}
        feeds["input_ids"] = written[None]
        feeds["attention_mask"] = np.ones((1, past[0].shape[2] + len(written)), np.int64)
        feeds["num_logits_to_keep"] = np.array(0, np.int64)
        return np.asarray(self._session.run(["logits"], feeds)[0], np.float32)[0]

    def _read(self, rows: Sequence[np.ndarray], adapters: Sequence[Adapter | None]) -> dict[str, np.ndarray]:
        """The decoder's inputs of texts: each row its adapter's keys and values, then the encoder's, then nothing.

        Rows whose prompts have one length go through the encoder together: it counts positions from the first column.
        """
        fronts = [adapter.cross_past if adapter else () for adapter in adapters]
        front_lengths = [longest_of(front) for front in fronts]
        rows = [with_suffix(ids, adapter, self._graph.vocab_size) for ids, adapter in zip(rows, adapters)]
        prompts = [adapter.prompt_tokens if adapter else 0 for adapter in adapters]
        lengths = [f + p + len(ids) for f, p, ids in zip(front_lengths, prompts, rows)]
        found = [zeros(layer, len(rows), max(lengths), self._cache_dtype) for layer in both(self._pair.cross_layers)]
        for prompt in dict.fromkeys(prompts):
            group = [r for r, length in enumerate(prompts) if length == prompt]
            given = self._encode([rows[r] for r in group], [adapters[r] for r in group], prompt)
            for buffer, x in zip(found, given):
                for r, row in zip(group, x):
                    buffer[r, :, front_lengths[r] : lengths[r]] = row[:, : lengths[r] - front_lengths[r]]
        for r, front in enumerate(fronts):
            for buffer, x in zip(found, front):
                buffer[r, :, : front_lengths[r]] = x[0]
        mask = (np.arange(max(lengths)) < np.asarray(lengths)[:, None]).astype(np.int64)
        return {**dict(zip(self._cross, found)), "encoder_attention_mask": mask}

    def _encode(self, rows: Sequence[np.ndarray], adapters: Sequence[Adapter | None], prompt: int) -> list[np.ndarray]:
        """2·L of [B, K, prompt + T, D]: what the decoder takes of the encoder's states; texts, with the ids of their
        suffixes, are right-padded."""
        longest, layers = max(map(len, rows)), self._pair.encoder_layers
        input_ids, text_mask = (
            np.full((len(rows), longest), self._pad, np.int64),
            np.zeros((len(rows), longest), np.int64),
        )
        for r, ids in enumerate(rows):
            input_ids[r, : len(ids)], text_mask[r, : len(ids)] = ids, 1
        pasts = [adapter.past if adapter else () for adapter in adapters]
        prefix_mask = front_mask([longest_of(past) for past in pasts])
        embeds = np.zeros((len(rows), prompt, self._graph.embedding_size), self._encoder_dtype)
        for r, adapter in enumerate(adapters):
            if adapter is not None and adapter.prompt is not None:
                embeds[r] = adapter.prompt[0]
        joined = joined_pasts(pasts, prefix_mask.shape[1], layers, self._encoder_dtype)
        feeds = {
            "input_ids": input_ids,
            "attention_mask": np.concatenate([prefix_mask, np.ones((len(rows), prompt), np.int64), text_mask], axis=1),
            "prompt_embeds": embeds,
            **dict(zip(encoder_past_names(layers), joined)),
            **optional_feeds(adapters, self._graph, self._encoder_dtype),
        }
        return [np.asarray(x) for x in self._encoder.run(self._given, feeds)]


def both(layers: Sequence[Layer]) -> list[Layer]:
    """Each layer twice: for its keys and for its values."""
    return [layer for layer in layers for _ in range(2)]


def zeros(layer: Layer, rows: int, length: int, dtype: type[np.floating]) -> np.ndarray:
    return np.zeros((rows, layer.key_value_heads, length, layer.head_size), dtype)
