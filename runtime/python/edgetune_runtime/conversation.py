"""A conversation with a chat model: each turn computes only the tokens that the cache does not hold."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import AsyncIterator, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from .asynchronous import asynchronous_chunks
from .chat_template import ChatTemplate, Message
from .errors import ContextLengthError, ConversationError, OptionError
from .generation import generation_from
from .manifest import Manifest
from .messages import checked_content, shortened
from .option_checks import CONSTRAINTS
from .options import DEFAULT_MAX_NEW_TOKENS, Options, options_from
from .progress import Request
from .results import Chunk, Generation
from .resumed import ResumedDecoder
from .stored_conversation import StoredConversation, write_conversation
from .writer import Writer

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .options import Cancel, GenerationOptions

Overflow = Literal["refuse", "slide"]
"""What happens where a conversation is longer than the base holds: an error, or its oldest turns are dropped."""
SPARE = 4
"""Once turns have to go, so many go that one in four positions is free: the next turns need not move again."""


@dataclass(frozen=True, eq=False)
class Setting:
    """What stays the same for as long as a conversation lasts. Conversations may share it."""

    manifest: Manifest
    writer: Writer
    template: ChatTemplate
    is_own_template: bool
    """Whether it is the bundle's; else it is kept with the conversation."""
    overflow: Overflow
    options: Mapping[str, Any]
    """Of every turn; a turn's own go first."""


class Conversation:
    """Turns behind one adapter, made by `Model.chat`. One thread at a time may use it; forks are apart from it."""

    def __init__(self, setting: Setting, cache: ResumedDecoder, messages: Sequence[Message]):
        self._setting, self._cache, self._messages = setting, cache, list(messages)
        self._is_writing, self._lock = False, threading.Lock()

    @property
    def messages(self) -> list[Message]:
        """What the next turn goes on from, `{"role", "content"}` each; those that slid out are gone. A copy."""
        return [dict(x) for x in self._messages]

    @property
    def adapter(self) -> str | None:
        """Its name; None: the bare base."""
        return None if self._cache.adapter is None else self._cache.adapter.info.name

    @property
    def token_count(self) -> int:
        """Tokens in the cache, virtual ones apart; those behind a common beginning are replaced in the next turn."""
        return len(self._cache.token_ids)

    @property
    def positions(self) -> int:
        """How many of the base's positions the cache takes, virtual tokens included."""
        adapter = self._cache.adapter
        virtual = 0 if adapter is None else adapter.info.virtual_tokens - adapter.suffix_tokens
        return virtual + self.token_count if self.token_count else 0

    def send(self, text: str, **options: Unpack[GenerationOptions]) -> Generation:
        """The answer to the user's `text`. Options as in `generate`, but for `n` and beams: there is one answer.

        Both become messages; an answer that `max_time_s` or `cancel` ended counts as it is, and a turn of which nothing
        was written has not been. An error leaves the conversation as it was. Raises ConversationError while another
        turn is being written, InputError where the template refuses the messages, ContextLengthError where they do not
        fit, and what `generate` does.
        """
        return generation_from(list(self.stream(text, **options)))

    def stream(self, text: str, **options: Unpack[GenerationOptions]) -> Iterator[Chunk]:
        """The chunks of the answer as they come; options and errors as in `send`, the errors at once.

        The turn lasts until the last chunk. Of an iterator that is closed or dropped before, what it has given is the
        answer.
        """
        started = time.perf_counter()
        self._take_turn()
        try:
            said = [*self._messages, {"role": "user", "content": checked_content(text, "the text")}]
            said, request = self._fitted(said, one_answer({**self._setting.options, **options}))
            chunks = self._chunks(said, request, started)
            next(chunks)  # from here on a generator that is dropped ends the turn
        except BaseException:
            self._is_writing = False
            raise
        return chunks  # type: ignore[return-value]

    def astream(self, text: str, **options: Any) -> AsyncIterator[Chunk]:
        """The chunks of the answer for `async for`; arguments and errors as in `stream`, the errors at once.

        A task that is cancelled stops the turn before its next step; until that step is done the turn lasts.
        """
        given: dict[str, Any] = {**self._setting.options, **options}

        def begun(cancel: Cancel) -> Iterator[Chunk]:
            arguments: dict[str, Any] = {**given, "cancel": cancel}
            return self.stream(text, **arguments)

        return asynchronous_chunks(begun, given)

    def fork(self) -> Conversation:
        """Another conversation that goes on from here; neither sees the other's turns. The cache is copied.

        Raises ConversationError while a turn is being written.
        """
        self._take_turn()
        try:
            return Conversation(self._setting, self._cache.copy(), self._messages)
        finally:
            self._is_writing = False

    def save(self, path: str | os.PathLike[str]) -> None:
        """The conversation with its keys and values in a `.safetensors` file, for `Model.load_chat`.

        The file is there whole or not at all. `cancel` and `on_chunk` are not kept. Raises ConversationError while a
        turn is being written, and where the file cannot be.
        """
        self._take_turn()
        try:
            setting, cache = self._setting, self._cache
            source = None if setting.is_own_template else setting.template.source
            stored = StoredConversation(
                self._messages, setting.overflow, setting.options, source, cache.token_ids, cache.held()
            )
            write_conversation(path, stored, setting.manifest, cache.adapter)
        finally:
            self._is_writing = False

    def _take_turn(self) -> None:
        with self._lock:
            if self._is_writing:
                raise ConversationError(
                    "a turn of this conversation is still being written. Read its stream to the end or close() it, or "
                    "go on with a fork()."
                )
            self._is_writing = True

    def _chunks(self, said: list[Message], request: Request, started: float) -> Generator[Any, None, None]:
        """None, then the chunks of the answer to the messages `said`."""
        answer, is_over = "", False
        try:
            yield None
            for _, chunk in self._setting.writer.chunks(self._cache, [request], started):
                answer += chunk.text
                if chunk.finish_reason is not None:
                    is_over = True
                    self._end_turn(said, answer, chunk.finish_reason in ("eos", "stop", "length"))
                yield chunk
        except (GeneratorExit, KeyboardInterrupt):
            if not is_over:
                is_over = True
                self._end_turn(said, answer, False)
            raise
        finally:
            if not is_over:
                self._is_writing = False

    def _end_turn(self, said: list[Message], answer: str, is_whole: bool) -> None:
        if answer or is_whole:
            self._messages = [*said, {"role": "assistant", "content": answer}]
        self._is_writing = False

    def _fitted(self, messages: list[Message], options: Options) -> tuple[list[Message], Request]:
        """The messages that are gone on from, and the request that they make; raises ContextLengthError.

        Where turns slide out the rest is computed anew: keys hold the positions of their tokens, and above the first
        layer what stood before them; only so are they those of a conversation that began with what is left.
        """
        limit = self._setting.manifest.graph.max_positions
        if self._setting.overflow == "refuse" or limit is None:
            return messages, self._request(messages, options)
        wanted = options.max_new_tokens or min(self._usual_tokens(), limit // SPARE)
        if self._fits(messages, options, wanted):
            return messages, self._request(messages, options)
        fewer = shortened(messages)
        for room in (wanted + limit // SPARE, wanted):
            for candidate in fewer:
                if self._fits(candidate, options, room):
                    return candidate, self._request(candidate, options)
        last = fewer[-1] if fewer else messages
        return last, self._request(last, options)

    def _usual_tokens(self) -> int:
        adapter = self._cache.adapter
        return (adapter and adapter.metadata.generation.max_new_tokens) or DEFAULT_MAX_NEW_TOKENS

    def _fits(self, messages: list[Message], options: Options, new_tokens: int) -> bool:
        try:
            self._request(messages, replace(options, **dict.fromkeys(CONSTRAINTS), max_new_tokens=new_tokens))
        except ContextLengthError:
            return False
        return True

    def _request(self, messages: list[Message], options: Options) -> Request:
        writer, adapter = self._setting.writer, self._cache.adapter
        said = [{**x, "content": writer.tokenizer.hidden(x["content"])} for x in messages]
        ids = writer.texts.rendered_ids(self._setting.template.rendered(said), adapter)
        return writer.requests([ids], [(adapter,)], options, ["the conversation"])[0]


def one_answer(given: Mapping[str, Any]) -> Options:
    """The options of a turn; raises OptionError where they ask for several results, and as `options_from` does."""
    options = options_from(given)
    for name in ("n", "num_beams"):
        if getattr(options, name) > 1:
            raise OptionError(f"{name}: a turn of a conversation has one answer. Leave it out, or use generate.")
    return options
