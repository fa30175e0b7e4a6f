"""A crowd: many threads at one model, adapters coming and going, every answer held to what one thread alone gets."""

import asyncio
import queue
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from edgetune_runtime import AdapterError

from .asks import Ask, answered, is_beginning, said

TURNING = ("turning-0", "turning-1")
"""Names whose content is replaced under way."""
LEAVING = "leaving"
"""A name that is added and removed under way: whoever asks for it may be told that it is not here."""


class Turning:
    """One name's contents, in the order in which they were added, of which the last may not have come yet."""

    def __init__(self, name: str, content: str):
        self.name, self.contents, self.settled = name, [content], 0
        self.lock = threading.Lock()

    def turn(self, model, content: str, path: Path) -> None:
        with self.lock:
            self.contents.append(content)
            model.add_adapter(path, self.name, replace=True)
            self.settled = len(self.contents) - 1


class Crowd:
    """Threads that share a model.

    `files` are the contents that adapters may have, each of which the model has under its own name too. `answers` are
    what one thread alone was answered to each ask, by its number and the content of its one adapter, or None for those
    that it has by itself.
    """

    def __init__(self, model, asks: Sequence[Ask], answers: dict, files: dict[str, Path]):
        self.model, self.asks, self.answers, self.files = model, asks, answers, files
        self.counts: Counter = Counter()
        """Of requests by kind, of changes of adapters by what they did."""
        self.answered: set[str] = set()
        """The kinds of requests."""
        self.wrong: list[str] = []
        """What should not have been, a line each."""
        self.turning = [Turning(name, next(iter(files))) for name in TURNING]
        for turning in self.turning:
            model.add_adapter(files[turning.contents[0]], turning.name)
        self._numbers = iter(range(0))
        self._lock, self._cancels = threading.Lock(), queue.SimpleQueue()

    def run(self, threads: int, first: int, end: int, tell: Callable[[int], None] = lambda _: None) -> None:
        """Requests `first` … `end`, among `threads`; `tell` is called from one of them now and then."""
        self._numbers = iter(range(first, end))
        canceller = threading.Thread(target=self._cancel, daemon=True)
        workers = [threading.Thread(target=self._work, args=(tell,), daemon=True) for _ in range(threads)]
        for thread in (canceller, *workers):
            thread.start()
        for worker in workers:
            worker.join()
        self._cancels.put(None)
        canceller.join()

    def _cancel(self) -> None:
        """Cancels from outside, a moment after the call began."""
        while (event := self._cancels.get()) is not None:
            time.sleep(0.002)
            event.set()

    def _work(self, tell: Callable[[int], None]) -> None:
        while True:
            with self._lock:
                number = next(self._numbers, None)
            if number is None:
                return
            try:
                kind = self._request(number, random.Random(number))
            except Exception as error:
                kind = "error"
                self._say(f"request {number}: {type(error).__name__}: {error}")
            with self._lock:
                self.counts[kind] += 1
                self.answered.add(kind)
            tell(number)

    def _say(self, line: str) -> None:
        with self._lock:
            self.wrong.append(line)

    def _request(self, number: int, rng: random.Random) -> str:
        ask, kind = rng.choice(self.asks), rng.random()
        content = rng.choice(list(self.files))
        if kind < 0.06:
            rng.choice(self.turning).turn(self.model, content, self.files[content])
            self._count("replaced")
        elif kind < 0.09:
            self._come_or_go(content)
        single = len(ask.contents) == 1
        if single and kind > 0.9:
            return self._with_own(ask, content, number, rng)
        if single and kind > 0.78:
            return self._with_turning(ask, rng.choice(self.turning), number)
        if single and kind > 0.76:
            return self._with_leaving(ask, number)
        names = ask.contents
        if ask.is_cut_anywhere and kind > 0.6:
            return self._stopped(ask, names[0], number, rng)
        if ask.is_plain and ask.call == "generate" and kind > 0.4:
            return self._streamed(ask, names[0], number, rng)
        self._check(number, ask, answered(self.model, ask, names), [None])
        return "whole" if single else "mixed batch"

    def _with_own(self, ask: Ask, content: str, number: int, rng: random.Random) -> str:
        """An adapter of this request's: added, used, replaced, used, removed."""
        name, other = f"own-{number}", rng.choice(list(self.files))
        self.model.add_adapter(self.files[content], name)
        self._check(number, ask, answered(self.model, ask, [name]), [content])
        self.model.add_adapter(self.files[other], name, replace=True)
        self._check(number, ask, answered(self.model, ask, [name]), [other])
        self.model.remove_adapter(name)
        return "own adapter"

    def _with_turning(self, ask: Ask, turning: Turning, number: int) -> str:
        """One content that the name had while the call began, and all of that one."""
        before = turning.settled
        found = answered(self.model, ask, [turning.name])
        self._check(number, ask, found, turning.contents[before:])
        return "replaced under way"

    def _come_or_go(self, content: str) -> None:
        try:
            if LEAVING in self.model.adapters:
                self.model.remove_adapter(LEAVING)
                self._count("removed")
            else:
                self.model.add_adapter(self.files[content], LEAVING)
                self._count("added")
        except AdapterError:  # another thread was sooner
            self._count("came or went twice")

    def _with_leaving(self, ask: Ask, number: int) -> str:
        try:
            found = answered(self.model, ask, [LEAVING])
        except AdapterError:
            return "was not there"
        self._check(number, ask, found, list(self.files))
        return "removed under way"

    def _stopped(self, ask: Ask, name: str | None, number: int, rng: random.Random) -> str:
        """Cancelled from its own thread, from another, or left in the middle of its stream."""
        way, event, most = rng.randrange(3), threading.Event(), rng.randrange(1, 6)
        whole, chunks = self.answers[ask.number, None], []
        if way == 0:
            for chunk in self.model.stream(ask.texts, adapter=name, **ask.options):
                chunks.append(chunk)
                if len(chunks) == most:
                    break
        else:

            def on_chunk(chunk):
                chunks.append(chunk)
                if way == 1 and len(chunks) == most:
                    event.set()

            if way == 2:
                self._cancels.put(event)
            found = self.model.generate(ask.texts, adapter=name, cancel=event, on_chunk=on_chunk, **ask.options)
            if found.finish_reason != "cancelled":
                self._check(number, ask, said(found), [None])
        cut = [t for c in chunks for t in c.token_ids], "".join(c.text for c in chunks)
        if not is_beginning(cut, whole):
            self._say(f"request {number}: {ask} was cut to {cut}, no beginning of {whole}")
        return ("left stream", "cancelled by itself", "cancelled by another")[way]

    def _streamed(self, ask: Ask, name: str | None, number: int, rng: random.Random) -> str:
        aside = rng.random() < 0.1
        if aside:

            async def collected():  # fmt: skip
                return [x async for x in self.model.astream(ask.texts, adapter=name, **ask.options)]

            chunks = asyncio.run(collected())
        else:
            chunks = list(self.model.stream(ask.texts, adapter=name, **ask.options))
        tokens = tuple(t for c in chunks for t in c.token_ids)
        found = tokens, "".join(c.text for c in chunks), chunks[-1].finish_reason
        if found != self.answers[ask.number, None][:3]:
            self._say(f"request {number}: {ask} streamed {found}, not {self.answers[ask.number, None]}")
        return "asynchronous stream" if aside else "stream"

    def _check(self, number: int, ask: Ask, found: tuple, contents: Sequence[str | None]) -> None:
        if not any(found == self.answers[ask.number, content] for content in contents):
            self._say(f"request {number}: {ask} with {contents} was answered {found}")

    def _count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1


def answers_of(model, asks: Sequence[Ask], files: dict[str, Path]) -> dict:
    """What the crowd is held to, asked one after another in this thread."""
    found = {}
    for ask in asks:
        found[ask.number, None] = answered(model, ask, ask.contents)
        if len(ask.contents) == 1:
            for content in files:
                found[ask.number, content] = answered(model, ask, [content])
    return found
