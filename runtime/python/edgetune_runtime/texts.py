"""Token ids of what a caller passed, made to fit the base: cut for a classifier, refused for a generator."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

import numpy as np

from .adapter import Adapter
from .adapter_metadata import GenerationDefaults
from .encoder import EncoderRow
from .errors import ContextLengthError, InputError
from .inputs import Row, checked_token_ids
from .manifest import Manifest
from .options import Options, resolved
from .progress import Request
from .tagging import TaggedRow
from .template import filled_ids
from .tokenizer import Tokenizer
from .windows import Windows, filled_windows, text_windows, windows_of
from .words import Words, first_tokens

log = logging.getLogger("edgetune_runtime")

BARE = GenerationDefaults()


class Texts:
    """Reads texts for one model; it remembers only whether it has warned of a cut. Threads may share it."""

    def __init__(self, manifest: Manifest, tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        self._limit, self._vocab_size = manifest.graph.max_positions, manifest.graph.vocab_size
        self._bos, self._pair = manifest.tokenizer.bos_token_id, manifest.encoder_decoder
        self._mask_id, self._reads_mask = manifest.tokenizer.mask_token_id, manifest.graph.pooling == "mask"
        self._mask = "" if self._mask_id is None else tokenizer.token(self._mask_id)
        self._lock, self._has_warned = threading.Lock(), False

    def encoder_row(self, row: Row, adapter: Adapter, where: str) -> EncoderRow:
        """The row, cut to the positions that the adapter leaves: the text's last tokens go, the special ones stay."""
        room = self._room(adapter)
        template = adapter.metadata.template
        if isinstance(row, np.ndarray):
            # looked at before the cut, which could hide what is no token
            all_ids = checked_token_ids(row, self._vocab_size, where)
            ids, length = (all_ids if template else cut(all_ids, room)), len(all_ids)
        elif template is not None:
            self._check_pair(row, adapter, where)
            ids, length = filled_ids(self._tokenizer, template, row, self._mask, room)
        elif room is None:
            ids, length = self._tokenizer.encode(row), 0
        else:
            ids, length = self._tokenizer.encode_within(row, room)
        whole = self.class_row(ids, adapter, where)
        if room is not None and length > room:
            self._warn_of_cut(length, room, adapter)
        return EncoderRow(whole, adapter)

    def encoder_rows(self, row: Row, adapter: Adapter, where: str, windows: Windows | None) -> list[EncoderRow]:
        """The row as `encoder_row` cuts it, or as its windows, between which nothing is lost.

        Raises InputError for token ids that are more than one window: which of them are special is not known.
        """
        if windows is None:
            return [self.encoder_row(row, adapter, where)]
        room, template, stride = self._room(adapter), adapter.metadata.template, windows.stride
        if isinstance(row, np.ndarray):
            if room is not None and len(row) > room:
                raise InputError(f"{where}: windows are for strings, and these are token ids. Pass each window's.")
            return [self.encoder_row(row, adapter, where)]
        if template is not None:
            self._check_pair(row, adapter, where)
            found = filled_windows(self._tokenizer, template, row, self._mask, room, stride, where)
        else:
            found = text_windows(self._tokenizer, row, room, stride, where)
        return [EncoderRow(self.class_row(ids, adapter, where), adapter) for ids in found]

    def tagged_row(self, words: Words, adapter: Adapter, where: str, windows: Windows | None = None) -> TaggedRow:
        """The words with a space between two, cut as `encoder_row` cuts or by windows, and where each has its token."""
        if not words.places:
            return TaggedRow(words, [], [])
        room, spaced = self._room(adapter), words.spaced
        if windows is not None:
            return self._windowed_row(words, adapter, where, windows)
        ids, spans, length = self._tokenizer.encode_with_spans(spaced.text, room)
        whole = self.whole_row(ids, adapter, where)
        if room is not None and length > room:
            self._warn_of_cut(length, room, adapter)
        first = [None if token is None else (0, token) for token in first_tokens(spaced, spans)]
        return TaggedRow(words, first, [EncoderRow(whole, adapter)])

    def _windowed_row(self, words: Words, adapter: Adapter, where: str, windows: Windows) -> TaggedRow:
        """Each word's token is that of the window in which it stands furthest from an edge."""
        ids, spans, _ = self._tokenizer.encode_with_spans(words.spaced.text, None)
        seen = [i for i, (start, end) in enumerate(spans) if end > start]
        first, end = (seen[0], seen[-1] + 1) if seen else (0, 0)
        found = windows_of(ids, first, end, self._room(adapter), windows.stride, where)
        rows = [EncoderRow(self.whole_row(window.token_ids, adapter, where), adapter) for window in found]
        places: list[tuple[int, int] | None] = []
        for token in first_tokens(words.spaced, spans):
            if token is None:
                places.append(None)
                continue
            inside = [i for i, window in enumerate(found) if window.first <= token < window.end]
            best = max(inside, key=lambda i, token=token: found[i].margin(token, first, end))
            places.append((best, token - found[best].shift))
        return TaggedRow(words, places, rows)

    def class_row(self, token_ids: Sequence[int] | np.ndarray, adapter: Adapter, where: str) -> np.ndarray:
        """As `whole_row`; raises InputError where a head that reads the mask token finds none, or several."""
        ids = self.whole_row(token_ids, adapter, where)
        if self._reads_mask and (count := int((ids == self._mask_id).sum())) != 1:
            raise InputError(
                f"{where}: holds {count} mask tokens, and {adapter.info.name!r} reads exactly one, {self._mask!r}. "
                "Pass a string, which the template is put around, or ids of the filled template."
            )
        return ids

    def _room(self, adapter: Adapter) -> int | None:
        """Positions that the adapter leaves to a text."""
        return None if self._limit is None else max(self._limit - adapter.info.virtual_tokens, 0)

    def _check_pair(self, row: Row, adapter: Adapter, where: str) -> None:
        if isinstance(row, tuple) != adapter.metadata.takes_pairs:
            wants, got = ("a pair", "one text") if adapter.metadata.takes_pairs else ("one text", "a pair")
            raise InputError(
                f"{where}: is {got}, and the template of {adapter.info.name!r} takes {wants}: "
                f"{adapter.metadata.template!r}."
            )

    def whole_row(self, token_ids: Sequence[int] | np.ndarray, adapter: Adapter | None, where: str) -> np.ndarray:
        """Token ids [T], none of them cut; raises ContextLengthError where they do not fit."""
        ids = self._not_empty(checked_token_ids(token_ids, self._vocab_size, where), where)
        virtual = adapter.info.virtual_tokens if adapter else 0
        if self._limit is not None and len(ids) + virtual > self._limit:
            raise ContextLengthError(
                f"{where}: {len(ids)} tokens and {virtual} virtual tokens make {len(ids) + virtual} positions, and the "
                f"base holds {self._limit}. Shorten the text."
            )
        return ids

    def prompt_ids(self, row: Row, adapter: Adapter | None, where: str) -> np.ndarray:
        """Token ids [T], at least one, of what is gone on with: a string with its special tokens, as far as the adapter
        is not the text's beginning itself."""
        whole = not (adapter and adapter.metadata.begins_text)
        ids: Sequence[int] | np.ndarray
        if isinstance(row, np.ndarray):
            ids = row
        else:
            if self._tokenizer.exceeds(row, self._limit):
                raise ContextLengthError(
                    f"{where}: has {len(row)} characters, more than the base's {self._limit} positions can hold. "
                    "Shorten the text."
                )
            # of one that is too long by far the beginning is so too, and is refused sooner
            ids = self._tokenizer.encode(self._tokenizer.beginning(row, self._limit), add_special_tokens=whole)
        return self._not_empty(checked_token_ids(ids, self._vocab_size, where), where)

    def rendered_ids(self, text: str, adapter: Adapter | None) -> np.ndarray:
        """Token ids [T] of a text that has its special tokens written out, such as a conversation of `hidden` messages.

        Where the adapter is the text's beginning itself, the token that begins one is left out.
        """
        ids = self._tokenizer.encode_filled(self._tokenizer.beginning(text, self._limit), add_special_tokens=False)
        begins = adapter is not None and adapter.metadata.begins_text
        return np.asarray(ids[1:] if begins and ids[:1] == [self._bos] else ids, np.int64)

    def request(
        self, row: Row, adapters: Sequence[Adapter | None], options: Options, index: int, where: str
    ) -> Request:
        """The row with its options; raises ContextLengthError where it and its new tokens do not fit.

        `adapters` are one, or an ensemble's members: the longest must fit, and the task's options are the first's.
        """
        checked_token_ids(list(options.logit_bias or ()), self._vocab_size, "logit_bias")
        adapter = adapters[0]
        ids = self.prompt_ids(row, adapter, where)
        if self._pair:
            return self._pair_request(ids, adapter, options, index, where)
        used = len(ids) + max(x.info.virtual_tokens if x else 0 for x in adapters)
        defaults = adapter.metadata.generation if adapter else BARE
        return Request(ids, adapter, resolved(options, defaults, index, used, self._limit, where))

    def _pair_request(
        self, ids: np.ndarray, adapter: Adapter | None, options: Options, index: int, where: str
    ) -> Request:
        """The text is the encoder's; the decoder begins with its prefix and its first token."""
        assert self._pair is not None
        self.pair_row(ids, adapter, where)
        defaults, used = (
            adapter.metadata.generation if adapter else BARE,
            1 + (adapter.decoder_tokens if adapter else 0),
        )
        chosen = resolved(options, defaults, index, used, self._limit, f"the completion of {where}")
        return Request(ids, adapter, chosen, self._pair.forced)

    def pair_row(self, token_ids: Sequence[int] | np.ndarray, adapter: Adapter | None, where: str) -> np.ndarray:
        """Token ids [T] for an encoder–decoder's encoder; raises ContextLengthError where they do not fit."""
        ids = self._not_empty(checked_token_ids(token_ids, self._vocab_size, where), where)
        prompt = adapter.prompt_tokens + adapter.suffix_tokens if adapter else 0
        if self._limit is not None and len(ids) + prompt > self._limit:
            raise ContextLengthError(
                f"{where}: {len(ids)} tokens and {prompt} virtual tokens make {len(ids) + prompt} positions, and the "
                f"encoder holds {self._limit}. Shorten the text."
            )
        return ids

    def _not_empty(self, ids: Sequence[int] | np.ndarray, where: str) -> np.ndarray:
        if len(ids):
            return np.asarray(ids, np.int64)
        if self._bos is None:
            raise InputError(f"{where} has no tokens, and this base has none that begins a text. Pass at least one.")
        return np.array([self._bos], np.int64)

    def _warn_of_cut(self, length: int, room: int, adapter: Adapter) -> None:
        with self._lock:
            has_warned, self._has_warned = self._has_warned, True
        if not has_warned:
            log.warning(
                "a text of %d tokens was cut to %d: the base holds %s positions, and the adapter %r takes %d of them. "
                "This is said once per model.",
                length, room, self._limit, adapter.info.name, adapter.info.virtual_tokens,
            )  # fmt: skip


def cut(ids: np.ndarray, room: int | None) -> np.ndarray:
    """At most `room` of the token ids [T], the last of which, a special token as a rule, stays."""
    if room is None or len(ids) <= room:
        return ids
    return np.concatenate([ids[: room - 1], ids[-1:]]) if room else ids[:0]
