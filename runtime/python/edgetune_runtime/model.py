"""The face of the runtime: a loaded bundle that classifies or generates."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from .adapter import Adapter, read_adapter
from .adapter_set import AdapterSet
from .decoder import Decoder, step_logits
from .encoder import Encoder, EncoderRow, classification_from
from .ensemble import Ensemble
from .ensemble_classification import check_labels, joint_classifications
from .ensemble_decoder import EnsembleDecoder
from .errors import AdapterError, InputError, OptionError, TaskError
from .generation import Request, generated_chunks, generation_from
from .inputs import DEFAULT, AdapterChoice, Default, ManyTexts, OneText, place, rows_from
from .manifest import Manifest
from .options import Options, checked_options
from .pair_decoder import PairDecoder
from .results import AdapterInfo, Chunk, Classification, Generation
from .texts import Texts
from .tokenizer import Tokenizer

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .options import GenerationOptions

AdapterChoices = AdapterChoice | Sequence[AdapterChoice]
EnsembleChoice = str | Sequence[str] | None
"""The name of an ensemble of the bundle, or its members; None: each text has one adapter."""


class Model:
    """A base with its adapters, made by `load`. Threads may share it."""

    def __init__(
        self,
        manifest: Manifest,
        tokenizer: Tokenizer,
        adapters: Mapping[str, Adapter],
        *,
        encoder: Encoder | None = None,
        decoder: Decoder | None = None,
        target_tokenizer: Tokenizer | None = None,
    ):
        self.manifest, self.tokenizer = manifest, tokenizer
        self.target_tokenizer = target_tokenizer or tokenizer
        """Of what is generated: `tokenizer`, but for encoder–decoders that write in a vocabulary of their own."""
        self._encoder, self._decoder = encoder, decoder
        self._texts = Texts(manifest, tokenizer)
        self._adapters = AdapterSet(manifest, adapters)

    @property
    def kind(self) -> str:
        """`"encoder"`, `"decoder"` or `"encoder-decoder"`."""
        return self.manifest.kind

    @property
    def task(self) -> str:
        """`"classify"` or `"generate"`."""
        return self.manifest.task

    @property
    def adapters(self) -> Mapping[str, AdapterInfo]:
        """The tasks that this model can do, by name, in the bundle's order."""
        return MappingProxyType({name: adapter.info for name, adapter in self._adapters.by_name.items()})

    @property
    def ensembles(self) -> Mapping[str, Ensemble]:
        """Adapters of one task that the bundle names together."""
        return self.manifest.ensembles

    @property
    def default_adapter(self) -> str | None:
        """The adapter of calls that name none; None: the bare base."""
        return self._adapters.default

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """Tokens that end a generation."""
        return self.manifest.tokenizer.eos_token_ids

    @property
    def decoder(self) -> Decoder:
        """The engine below `generate`; raises TaskError on an encoder."""
        if self._decoder is None:
            raise TaskError(
                "this bundle holds an encoder, which does not generate. Use classify, or a decoder's bundle."
            )
        return self._decoder

    @property
    def encoder(self) -> Encoder:
        """The engine below `classify`; raises TaskError on a decoder."""
        if self._encoder is None:
            raise TaskError(
                "this bundle holds a decoder, which does not classify. Use generate, or an encoder's bundle."
            )
        return self._encoder

    @overload
    def classify(
        self, texts: OneText, *, adapter: AdapterChoices = ..., ensemble: EnsembleChoice = ...,
        combine: str | None = ..., top_k: int | None = ...,
    ) -> Classification: ...  # fmt: skip
    @overload
    def classify(
        self, texts: ManyTexts, *, adapter: AdapterChoices = ..., ensemble: EnsembleChoice = ...,
        combine: str | None = ..., top_k: int | None = ...,
    ) -> list[Classification]: ...  # fmt: skip
    def classify(
        self, texts: Any, *, adapter: AdapterChoices = DEFAULT, ensemble: EnsembleChoice = None,
        combine: str | None = None, top_k: int | None = None,
    ) -> Any:  # fmt: skip
        """A Classification of one text, a list of them of a list of texts.

        A text is a string, a (text, pair) tuple or token ids. A text that is too long loses its last tokens, with one
        warning per model. `top_k` cuts `scores`. An `ensemble` reads each text with all its members, in one batch;
        `combine` is its own, else "average": of probabilities, or "vote": of the members, by majority. Raises
        TaskError, AdapterError, InputError, OptionError.
        """
        encoder = self.encoder
        if top_k is not None and (not isinstance(top_k, int) or top_k < 1):
            raise OptionError(f"top_k: is {top_k!r}. Pass a whole number of at least 1, or None.")
        rows, is_one = rows_from(texts, pairs=True)
        read = self._texts.encoder_row
        if ensemble is not None:
            team = self._adapters.team(ensemble, adapter, combine)
            heads = self._adapters.with_heads(team.adapters, len(team.adapters))
            check_labels(heads)
            inputs = [[read(r, h, place(i, is_one)) for h in heads] for i, r in enumerate(rows)]
            results = joint_classifications(encoder, inputs, team.combine, top_k)
        elif combine is not None:
            raise OptionError("combine: is for an ensemble, and none is given. Pass ensemble as well.")
        else:
            heads = self._adapters.with_heads(adapter, len(rows))
            logits = encoder.class_logits([read(r, h, place(i, is_one)) for i, (r, h) in enumerate(zip(rows, heads))])
            results = [classification_from(x, head.info.labels, top_k) for x, head in zip(logits, heads)]
        return results[0] if is_one else results

    @overload
    def generate(
        self, texts: OneText, *, adapter: AdapterChoices = ..., ensemble: EnsembleChoice = ...,
        **options: Unpack[GenerationOptions],
    ) -> Generation: ...  # fmt: skip
    @overload
    def generate(
        self, texts: ManyTexts, *, adapter: AdapterChoices = ..., ensemble: EnsembleChoice = ...,
        **options: Unpack[GenerationOptions],
    ) -> list[Generation]: ...  # fmt: skip
    def generate(
        self,
        texts: Any,
        *,
        adapter: AdapterChoices = DEFAULT,
        ensemble: EnsembleChoice = None,
        max_new_tokens: int | None = None,
        min_new_tokens: int = 0,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        stop: Sequence[str] | str | None = None,
    ) -> Any:
        """A Generation for one text, a list of them for a list of texts.

        A text is a string or token ids. Options left at None are the task's own, else: 256 new tokens or as many as
        fit, temperature 0 (the most probable token), no limits, no stop strings, a fresh seed. Row r of a list draws
        with seed + r. An `ensemble` writes each text together: every token is chosen from the mean of its members'
        distributions; the task's options are its first member's. Raises ContextLengthError, TaskError, AdapterError,
        InputError, OptionError.
        """
        started = time.perf_counter()
        options = Options(max_new_tokens, min_new_tokens, temperature, top_k, top_p, seed, stop)
        decoder, requests, is_one = self._requests(texts, adapter, options, ensemble)
        chunks: list[list[Chunk]] = [[] for _ in requests]
        for row, chunk in self._chunks(decoder, requests, started):
            chunks[row].append(chunk)
        results = [generation_from(x) for x in chunks]
        return results[0] if is_one else results

    def stream(
        self,
        text: OneText,
        *,
        adapter: AdapterChoice = DEFAULT,
        ensemble: EnsembleChoice = None,
        max_new_tokens: int | None = None,
        min_new_tokens: int = 0,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        stop: Sequence[str] | str | None = None,
    ) -> Iterator[Chunk]:
        """The chunks of one text as they come; options and errors as in `generate`, the errors at once."""
        started = time.perf_counter()
        options = Options(max_new_tokens, min_new_tokens, temperature, top_k, top_p, seed, stop)
        decoder, requests, is_one = self._requests(text, adapter, options, ensemble)
        if not is_one:
            raise InputError("stream takes one text, and this is a list. Use generate, or one stream per text.")
        return (chunk for _, chunk in self._chunks(decoder, requests, started))

    def add_adapter(
        self, path: str | os.PathLike[str], name: str | None = None, *, replace: bool = False
    ) -> AdapterInfo:
        """One more task from the `.safetensors` at `path`, in memory only; calls that are running do not see it.

        It is called `name`, or as its metadata says. Raises BaseMismatchError if it is of another base, AdapterError
        if it does not fit or if the name is taken and `replace` is false.
        """
        if self.manifest.standalone:
            raise AdapterError("a standalone bundle has its adapter folded in and takes no other. Use a shared bundle.")
        added = read_adapter(Path(path), self.manifest, name)
        self._adapters.add(added, replace=replace)
        return added.info

    def logits(
        self, token_ids: Sequence[int] | np.ndarray, *, adapter: AdapterChoice = DEFAULT, keep: int = 0
    ) -> np.ndarray:
        """Logits [keep, V] of the last `keep` positions of one text [T], all for 0; float32, decoders.

        Those are [T, V], or [T + Q, V] of an adapter with Q virtual tokens behind the text.
        """
        decoder, chosen = self.decoder, self._adapters.one(adapter)
        return decoder.logits(self._texts.whole_row(token_ids, chosen, "the text"), chosen, keep)

    def step_logits(self, token_ids: Sequence[int] | np.ndarray, *, adapter: AdapterChoice = DEFAULT) -> np.ndarray:
        """The same logits [T, V] as of `logits`, token by token over the cache: as they arise while generating."""
        decoder, chosen = self.decoder, self._adapters.one(adapter)
        return step_logits(decoder, self._texts.whole_row(token_ids, chosen, "the text"), chosen)

    def completion_logits(
        self,
        token_ids: Sequence[int] | np.ndarray,
        completion: Sequence[int] | np.ndarray,
        *,
        adapter: AdapterChoice = DEFAULT,
    ) -> np.ndarray:
        """Logits [U, V] of the tokens of a completion [U] of one text [T]; float32, generators of both kinds."""
        decoder, chosen = self.decoder, self._adapters.one(adapter)
        if isinstance(decoder, PairDecoder):
            ids = self._texts.pair_row(token_ids, chosen, "the text")
            return decoder.completion_logits(ids, np.asarray(completion), chosen)
        whole = self._texts.whole_row([*token_ids, *completion], chosen, "the text")
        ids, written = np.split(whole, [len(token_ids)])
        return decoder.logits(ids, chosen, len(written) + 1, written)[:-1]

    def class_logits(
        self, token_ids_rows: Sequence[Sequence[int] | np.ndarray], adapter: str | Default = DEFAULT
    ) -> np.ndarray:
        """Logits [B, C] of texts given as token ids, B of [T]; float32, encoders. Nothing is cut."""
        encoder, head = self.encoder, self._adapters.with_heads(adapter, 1)[0]
        rows = [EncoderRow(self._texts.whole_row(ids, head, place(i)), head) for i, ids in enumerate(token_ids_rows)]
        return np.stack(encoder.class_logits(rows)) if rows else np.empty((0, len(head.info.labels)), np.float32)

    def adapter_named(self, name: str | None) -> Adapter | None:
        """What the engines take for an adapter of this name; raises AdapterError if it is not here."""
        return self._adapters.one(name)

    def _requests(
        self, texts: Any, adapter: Any, options: Options, ensemble: EnsembleChoice
    ) -> tuple[Decoder | PairDecoder, list[Request], bool]:
        decoder = self.decoder  # an encoder is refused before its texts are looked at
        options = checked_options(options)
        rows, is_one = rows_from(texts, pairs=False)
        if ensemble is not None:
            team = self._adapters.team(ensemble, adapter)
            members = self._adapters.chosen(team.adapters, len(team.adapters))
            decoder, chosen = EnsembleDecoder(decoder, members), [tuple(members)] * len(rows)
        else:
            chosen = [(x,) for x in self._adapters.chosen(adapter, len(rows))]
        read = self._texts.request
        return decoder, [read(r, c, options, i, place(i, is_one)) for i, (r, c) in enumerate(zip(rows, chosen))], is_one

    def _chunks(
        self, decoder: Decoder | PairDecoder, requests: Sequence[Request], started: float
    ) -> Iterator[tuple[int, Chunk]]:
        return generated_chunks(decoder, self.target_tokenizer, self.eos_token_ids, requests, started)
