"""The face of the runtime: a loaded bundle that reads and generates."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, overload

from .adapter import Adapter
from .asynchronous import asynchronous_chunks
from .chatting import Chatting
from .engine import Decoder
from .ensemble import Ensemble
from .ensemble_decoder import EnsembleDecoder
from .errors import AdapterError, InputError, OptionError
from .generation import generations_from
from .inputs import DEFAULT, AdapterChoice, ManyTexts, OneText, place, rows_from
from .options import Options, options_from
from .pair_decoder import PairDecoder
from .progress import Request
from .reading import AdapterChoices, EnsembleChoice
from .results import AdapterInfo, Chunk, Generation
from .signed_files import PathOrBytes
from .trusted_keys import TrustedKey, trusted_keys_from
from .warming import TOKENS, warm

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .options import Cancel, GenerationOptions


class Model(Chatting):
    """A base with its adapters, made by `load`. Threads may share it."""

    @property
    def kind(self) -> str:
        """`"encoder"`, `"decoder"` or `"encoder-decoder"`."""
        return self.manifest.kind

    @property
    def task(self) -> str:
        """What its default adapter does: `"classify"`, `"tag"`, `"regress"` or `"generate"`."""
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
    def max_positions(self) -> int | None:
        """The context: virtual tokens, text and new tokens together; shorter than the base's under a `memory_limit`."""
        return self.manifest.graph.max_positions

    @property
    def default_adapter(self) -> str | None:
        """The adapter of calls that name none; None: the bare base."""
        return self._adapters.default

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
        **options: Unpack[GenerationOptions],
    ) -> Any:
        """A Generation for one text, a list of them for a list of texts.

        A text is a string or token ids. `options` are the fields of `Options`; what is left out is the task's own,
        else: 256 new tokens or as many as fit, temperature 0 (the most probable token), no limits, no stop strings, a
        fresh seed. Result i of text r is drawn with seed + r · n + i; the further results of a text are its `others`.
        An `ensemble` writes each text together: every token is chosen from the mean of its members' distributions; the
        task's options are its first member's. With `prompt_lookup_num_tokens` up to as many tokens are drafted from the
        text itself and checked in one run, each text of a list on its own: the same text, sooner where it repeats
        itself. Raises ContextLengthError, TaskError, AdapterError, InputError, OptionError, MissingExtraError.
        """
        started = time.perf_counter()
        decoder, requests, is_one = self._requests(texts, adapter, options_from(options), ensemble)
        n = requests[0].options.n if requests else 1
        chunks: list[list[Chunk]] = [[] for _ in range(len(requests) * n)]
        for row, chunk in self._writer.chunks(decoder, requests, started):
            chunks[row].append(chunk)
        results = generations_from(chunks, n)
        return results[0] if is_one else results

    def stream(
        self,
        text: OneText,
        *,
        adapter: AdapterChoice = DEFAULT,
        ensemble: EnsembleChoice = None,
        **options: Unpack[GenerationOptions],
    ) -> Iterator[Chunk]:
        """The chunks of one text as they come; options and errors as in `generate`, the errors at once."""
        started = time.perf_counter()
        decoder, requests, is_one = self._requests(text, adapter, options_from(options), ensemble)
        if not is_one:
            raise InputError("stream takes one text, and this is a list. Use generate, or one stream per text.")
        if requests[0].options.n > 1:
            raise OptionError("n: stream gives one result. Use generate, with on_chunk for its pieces.")
        return (chunk for _, chunk in self._writer.chunks(decoder, requests, started))

    def astream(self, text: OneText, **options: Any) -> AsyncIterator[Chunk]:
        """The chunks of one text for `async for`; arguments and errors as in `stream`, the errors at once.

        The work is done in a thread, a chunk at a time. A task that is cancelled, or an iterator that is closed, stops
        the generation before its next step.
        """
        given: dict[str, Any] = dict(options)

        def begun(cancel: Cancel) -> Iterator[Chunk]:
            arguments: dict[str, Any] = {**given, "cancel": cancel}
            return self.stream(text, **arguments)

        return asynchronous_chunks(begun, given)

    def warm_up(self, adapters: Sequence[str | None] | None = None, *, tokens: int = TOKENS) -> None:
        """Does now what the first answer would otherwise wait for; answers are the same with it and without.

        The tensors of `adapters`, by name, None being the bare base, are read, and the graph runs once on a text of
        `tokens` tokens; left out, the bundle's default. An app calls it, in a thread of its own if it likes, before its
        user has asked anything. Raises AdapterError, BundleError, OptionError.
        """
        names: Any = [self.default_adapter] if adapters is None else list(adapters)
        self.tokenizer.encode("")
        chosen = self._adapters.chosen(names, len(names))
        warm(self._encoder or self.decoder, self.manifest, chosen, tokens)

    @property
    def loaded_adapters(self) -> tuple[str, ...]:
        """Names of those whose tensors are in memory: what stays there, then from the least recently used one on."""
        return self._adapters.loaded

    def add_adapter(
        self,
        path: str | os.PathLike[str],
        name: str | None = None,
        *,
        replace: bool = False,
        signature: PathOrBytes | None = None,
        trusted_keys: TrustedKey | Sequence[TrustedKey] | None = None,
    ) -> AdapterInfo:
        """One more task from the `.safetensors` at `path`, for this model alone; calls that run do not see it.

        It is called `name`, or as its metadata says. The file is read at once; with an `adapter_memory_limit` it must
        stay where it is, unaltered, to be read again. With `trusted_keys`, left out those of `load`, one of them must
        have signed it: `signature` is a path or the bytes; left out, it is beside the file, under its name with `.sig`.
        Raises SignatureError if it is not, BaseMismatchError if it is of another base, AdapterError if it does not fit
        or if the name is taken and `replace` is false.
        """
        self._refuse_folded()
        keys = None if trusted_keys is None else trusted_keys_from(trusted_keys)
        return self._adapters.add_file(Path(path), name, replace=replace, signature=signature, trusted_keys=keys)

    def remove_adapter(self, name: str) -> None:
        """One task less, in this model alone: calls that run keep it, and its memory is free when they end.

        Raises AdapterError if it is not here, or if the bundle's default or one of its ensembles needs it.
        """
        self._refuse_folded()
        self._adapters.remove(name)

    def _refuse_folded(self) -> None:
        if self.manifest.standalone:
            raise AdapterError("a standalone bundle has its adapter folded in and takes no other. Use a shared bundle.")

    def adapter_named(self, name: str | None) -> Adapter | None:
        """What the engines take for an adapter of this name; raises AdapterError if it is not here."""
        return self._adapters.one(name)

    def _requests(
        self, texts: Any, adapter: Any, options: Options, ensemble: EnsembleChoice
    ) -> tuple[Decoder | PairDecoder, list[Request], bool]:
        decoder = self.decoder  # an encoder is refused before its texts are looked at
        rows, is_one = rows_from(texts, pairs=False)
        if ensemble is not None:
            team = self._adapters.team(ensemble, adapter)
            members = self._adapters.chosen(team.adapters, len(team.adapters))
            decoder, chosen = EnsembleDecoder(decoder, members), [tuple(members)] * len(rows)
        else:
            chosen = [(x,) for x in self._adapters.chosen(adapter, len(rows))]
        self._adapters.refuse_other_tasks([x for row in chosen for x in row], "generate")
        places = [place(i, is_one) for i in range(len(rows))]
        return decoder, self._writer.requests(rows, chosen, options, places), is_one
