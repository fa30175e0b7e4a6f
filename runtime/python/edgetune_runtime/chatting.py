"""Calls that begin a conversation, or take one up again."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, get_args

from .adapter import Adapter
from .chat_template import ChatTemplate
from .constraints import Constraints
from .conversation import Conversation, Overflow, Setting, one_answer
from .errors import InputError, OptionError, TaskError
from .inputs import DEFAULT, AdapterChoice
from .messages import opening
from .pair_decoder import PairDecoder
from .parts import Parts
from .resumed import ResumedDecoder
from .scoring import Scoring
from .stored_conversation import read_conversation
from .writer import Writer

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .options import GenerationOptions


class Chatting(Scoring):
    """A base with its adapters, as far as it reads, scores and holds conversations. Threads may share it."""

    def __init__(self, parts: Parts):
        super().__init__(parts)
        self.chat_template = parts.chat_template
        """The bundle's own; None: it has none."""
        constraints = Constraints(self.target_tokenizer, self.manifest.graph.vocab_size, self.eos_token_ids)
        self._writer = Writer(self._texts, constraints, self.target_tokenizer, self.eos_token_ids, self.memory)

    def chat(
        self,
        *,
        adapter: AdapterChoice = DEFAULT,
        system: str | None = None,
        messages: Iterable[Mapping[str, str]] = (),
        overflow: Overflow = "refuse",
        template: str | None = None,
        **options: Unpack[GenerationOptions],
    ) -> Conversation:
        """A conversation behind one adapter, from `messages` on, `{"role", "content"}` each, or from a `system` text.

        Nothing is computed before the first turn; `options` are those of every turn. `template` is jinja source, as
        Hugging Face's chat templates are; left out, it is the bundle's own. Where a turn does not fit the base,
        `overflow` says whether it raises ContextLengthError ("refuse") or the oldest turns are dropped ("slide"): the
        system text stays, and what is left is computed anew. Raises TaskError, AdapterError, InputError, OptionError,
        BundleError for what is no template, MissingExtraError without jinja2.
        """
        if overflow not in get_args(Overflow):
            raise OptionError(f'overflow: is {overflow!r}. Pass "refuse" or "slide".')
        one_answer(options)
        cache = self._resumed(adapter)
        return Conversation(self._setting(template, overflow, options), cache, opening(system, messages))

    def load_chat(self, path: str | os.PathLike[str]) -> Conversation:
        """The conversation that `Conversation.save` wrote: its next turn computes new tokens alone.

        Raises ConversationError if the file is damaged, or was saved with another base, adapter or precision, both of
        which it names; AdapterError if there is no adapter of its name.
        """
        file = read_conversation(path, self.manifest)
        cache, stored = self._resumed(file.adapter), file.stored
        file.check(self.manifest, cache.adapter)
        cache.hold(stored.token_ids, stored.held)
        return Conversation(self._setting(stored.template, stored.overflow, stored.options), cache, stored.messages)

    def _resumed(self, adapter: AdapterChoice) -> ResumedDecoder:
        decoder = self.decoder
        if isinstance(decoder, PairDecoder):
            raise TaskError("this bundle holds an encoder-decoder, which holds no conversation. Use generate.")
        chosen: Adapter | None = self._adapters.one(adapter)
        self._adapters.refuse_other_tasks([chosen], "generate")
        return ResumedDecoder(decoder, chosen, self.manifest.graph.vocab_size)

    def _setting(self, template: str | None, overflow: Any, options: Mapping[str, Any]) -> Setting:
        found = self.chat_template if template is None else self._template_from(template)
        if found is None:
            raise InputError(
                "this bundle has no chat template, so it is not known how its base was told who speaks. Export a chat "
                "model (its tokenizer has a `chat_template`), pass template=, or use generate."
            )
        found.compiled()
        return Setting(self.manifest, self._writer, found, template is None, overflow, dict(options))

    def _template_from(self, source: Any) -> ChatTemplate:
        if not isinstance(source, str):
            raise InputError(f"template: is {source!r}. Pass jinja source.")
        names = self.manifest.tokenizer
        ends = self.eos_token_ids[:1]
        found = {
            "bos_token": "" if names.bos_token_id is None else self.tokenizer.token(names.bos_token_id),
            "eos_token": self.tokenizer.token(ends[0]) if ends else "",
        }
        return ChatTemplate(source, {**found, **names.special_tokens}, "template")
