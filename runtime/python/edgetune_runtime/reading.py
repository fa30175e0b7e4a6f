"""Calls that say something of a text: its class, the tags of its words, a number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, overload

import numpy as np

from .adapter import Adapter
from .encoder import Classifier, Encoder, EncoderRow, classification_from
from .ensemble_classification import check_labels, joint_classification
from .errors import OptionError, TaskError
from .inputs import DEFAULT, AdapterChoice, Default, ManyTexts, OneText, place, rows_from, words_from
from .label_words import WordClassifier
from .pair_decoder import PairDecoder
from .parts import Parts
from .results import Classification, Regression, Tagging
from .tagging import tagging_from
from .texts import Texts
from .windows import Windows, checked_windows, joined_logits

AdapterChoices = AdapterChoice | Sequence[AdapterChoice]
EnsembleChoice = str | Sequence[str] | None
"""The name of an ensemble of the bundle, or its members; None: each text has one adapter."""


class Reading:
    """A base with its adapters, as far as it reads. Threads may share it."""

    def __init__(self, parts: Parts):
        self.manifest, self.tokenizer = parts.manifest, parts.tokenizer
        self._encoder, self._decoder = parts.encoder, parts.decoder
        self._texts = Texts(parts.manifest, parts.tokenizer)
        self._adapters = parts.adapters
        self.memory = parts.memory
        """What the model needs of memory, and the context that a `memory_limit` left."""

    @property
    def encoder(self) -> Encoder:
        """The engine below `tag` and `regress`; raises TaskError on a decoder."""
        if self._encoder is None:
            raise TaskError(
                "this bundle holds no encoder, so it does not tag or predict numbers. Use an encoder's bundle."
            )
        return self._encoder

    @property
    def classifier(self) -> Classifier:
        """The engine below `classify`; raises TaskError on an encoder–decoder."""
        if self._encoder is not None:
            return self._encoder
        if self._decoder is None or isinstance(self._decoder, PairDecoder):
            raise TaskError(
                "this bundle holds an encoder-decoder, which does not classify. Use generate, or an encoder's bundle."
            )
        return WordClassifier(self._decoder, self.memory)

    @overload
    def classify(
        self, texts: OneText, *, adapter: AdapterChoices = ..., ensemble: EnsembleChoice = ...,
        combine: str | None = ..., top_k: int | None = ..., threshold: float | None = ...,
        windows: str | bool | None = ..., stride: int | None = ...,
    ) -> Classification: ...  # fmt: skip
    @overload
    def classify(
        self, texts: ManyTexts, *, adapter: AdapterChoices = ..., ensemble: EnsembleChoice = ...,
        combine: str | None = ..., top_k: int | None = ..., threshold: float | None = ...,
        windows: str | bool | None = ..., stride: int | None = ...,
    ) -> list[Classification]: ...  # fmt: skip
    def classify(
        self, texts: Any, *, adapter: AdapterChoices = DEFAULT, ensemble: EnsembleChoice = None,
        combine: str | None = None, top_k: int | None = None, threshold: float | None = None,
        windows: str | bool | None = None, stride: int | None = None,
    ) -> Any:  # fmt: skip
        """A Classification of one text, a list of them of a list of texts.

        A text is a string, a (text, pair) tuple or token ids. A text that is too long loses its last tokens, with one
        warning per model; or it is read by overlapping `windows`: "mean" of their probabilities, or "max" of each
        label's, and neighbours share `stride` tokens at least, a quarter of a window if it is left out. `top_k` cuts
        `scores`. Below a `threshold` of the best score the label is None: out of scope. An `ensemble` reads each text
        with all its members, in one batch; `combine` is its own, else "average": of probabilities, or "vote": of the
        members, by majority. An adapter with label words puts its template around strings and pairs, not around token
        ids. Raises TaskError, AdapterError, InputError, OptionError, ContextLengthError.
        """
        engine = self.classifier
        if top_k is not None and (not isinstance(top_k, int) or top_k < 1):
            raise OptionError(f"top_k: is {top_k!r}. Pass a whole number of at least 1, or None.")
        least, how = checked_threshold(threshold), checked_windows(windows, stride)
        rows, is_one = rows_from(texts, pairs=True)
        read = self._texts.encoder_rows
        if ensemble is not None:
            team = self._adapters.team(ensemble, adapter, combine)
            heads = self._adapters.with_heads(team.adapters, len(team.adapters))
            check_labels(heads)
            inputs = [read(r, h, place(i, is_one), how) for i, r in enumerate(rows) for h in heads]
            logits = window_logits(engine, inputs, how)
            each = [logits[i : i + len(heads)] for i in range(0, len(logits), len(heads))]
            results = [joint_classification(x, heads, team.combine, top_k) for x in each]
        elif combine is not None:
            raise OptionError("combine: is for an ensemble, and none is given. Pass ensemble as well.")
        else:
            heads = self._adapters.with_heads(adapter, len(rows))
            inputs = [read(r, h, place(i, is_one), how) for i, (r, h) in enumerate(zip(rows, heads))]
            logits = window_logits(engine, inputs, how)
            results = [classification_from(x, head.info.labels, top_k) for x, head in zip(logits, heads)]
        results = [replace(x, label=None) if x.score < least else x for x in results]
        return results[0] if is_one else results

    @overload
    def tag(
        self, texts: str | tuple[str, ...], *, adapter: AdapterChoices = ..., windows: bool = ...,
        stride: int | None = ...,
    ) -> Tagging: ...  # fmt: skip
    @overload
    def tag(
        self, texts: Sequence[str | tuple[str, ...] | list[str]], *, adapter: AdapterChoices = ...,
        windows: bool = ..., stride: int | None = ...,
    ) -> list[Tagging]: ...  # fmt: skip
    def tag(
        self, texts: Any, *, adapter: AdapterChoices = DEFAULT, windows: bool = False, stride: int | None = None
    ) -> Any:
        """A Tagging of one text, a list of them of a list of texts.

        A text is a string, which is split into words as the task's rows were, or its words: a tuple of strings, in a
        list of texts a list of strings too. Words behind the cut of a text that is too long are outside of every
        entity, with one warning per model. With `windows` nothing is cut: a word's tag is that of the window in which
        it stands furthest from the edge, and neighbouring windows share `stride` tokens at least, a quarter of a window
        if it is left out. Raises TaskError, AdapterError, InputError, OptionError, ContextLengthError.
        """
        engine, (given, is_one) = self.encoder, words_from(texts)
        how = checked_windows(windows, stride)
        heads = self._adapters.with_heads(adapter, len(given), "tag")
        tagged = [
            self._texts.tagged_row(words.split(head.metadata.word_split), head, place(i, is_one), how)
            for i, (words, head) in enumerate(zip(given, heads))
        ]
        logits = iter(engine.class_logits([row for x in tagged for row in x.rows]))
        results = [tagging_from(x, [next(logits) for _ in x.rows], head.info.labels) for x, head in zip(tagged, heads)]
        return results[0] if is_one else results

    @overload
    def regress(self, texts: OneText, *, adapter: AdapterChoices = ...) -> Regression: ...
    @overload
    def regress(self, texts: ManyTexts, *, adapter: AdapterChoices = ...) -> list[Regression]: ...
    def regress(self, texts: Any, *, adapter: AdapterChoices = DEFAULT) -> Any:
        """A Regression of one text, a list of them of a list of texts; texts and errors as in `classify`."""
        engine, (rows, is_one) = self.encoder, rows_from(texts, pairs=True)
        heads = self._adapters.with_heads(adapter, len(rows), "regress")
        read = self._texts.encoder_row
        logits = engine.class_logits([read(r, h, place(i, is_one)) for i, (r, h) in enumerate(zip(rows, heads))])
        results = [Regression(float(x[0])) for x in logits]
        return results[0] if is_one else results

    def class_logits(
        self, token_ids_rows: Sequence[Sequence[int] | np.ndarray], adapter: str | Default = DEFAULT
    ) -> np.ndarray:
        """Logits [B, C] of texts given as token ids, B of [T]; float32, classifiers; of a regression its values [B, 1].

        Nothing is cut, and no template is put around the ids.
        """
        engine, rows, head = self._head_rows(token_ids_rows, adapter)
        return np.stack(engine.class_logits(rows)) if rows else np.empty((0, len(head.info.labels)), np.float32)

    def tag_logits(
        self, token_ids_rows: Sequence[Sequence[int] | np.ndarray], adapter: str | Default = DEFAULT
    ) -> list[np.ndarray]:
        """Logits of every token of texts given as token ids: B of [T, C]; float32. Nothing is cut."""
        engine, rows, _ = self._head_rows(token_ids_rows, adapter, "tag")
        return engine.class_logits(rows)

    def _head_rows(
        self, token_ids_rows: Sequence[Sequence[int] | np.ndarray], adapter: str | Default, task: str | None = None
    ) -> tuple[Classifier, list[EncoderRow], Adapter]:
        engine, chosen = self.classifier, self._adapters.one(adapter)
        task = task or ("regress" if chosen is not None and chosen.info.task == "regress" else "classify")
        head = self._adapters.with_heads(adapter, 1, task)[0]
        read = self._texts.class_row
        return engine, [EncoderRow(read(ids, head, place(i)), head) for i, ids in enumerate(token_ids_rows)], head


def window_logits(
    engine: Classifier, texts: Sequence[Sequence[EncoderRow]], windows: Windows | None
) -> list[np.ndarray]:
    """Logits [C] of each text from those of its rows, its windows. All rows go through the engine together."""
    logits = iter(engine.class_logits([row for text in texts for row in text]))
    how = windows or Windows()
    return [joined_logits([next(logits) for _ in text], how.combine) for text in texts]


def checked_threshold(threshold: float | None) -> float:
    """The least score of a label; raises OptionError for what is no probability."""
    if threshold is None:
        return 0.0
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not 0 <= threshold <= 1:
        raise OptionError(f"threshold: is {threshold!r}. Pass a probability from 0 to 1, or None.")
    return float(threshold)
