"""The messages of a conversation: checked as they come, and dropped from the oldest turn on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .chat_template import Message
from .errors import InputError

SPEAKERS = ("user", "assistant")
"""Roles whose messages make up the turns; what stands before them is pinned."""


def opening(system: str | None, messages: Iterable[Mapping[str, str]]) -> list[Message]:
    """What a conversation begins with; raises InputError for what is no message, and for two system texts."""
    if isinstance(messages, (str, Mapping)) or not isinstance(messages, Iterable):
        raise InputError(f"messages: is {messages!r}. Pass a list of {{'role': …, 'content': …}}.")
    found = [checked_message(x, f"message {i}") for i, x in enumerate(messages)]
    if system is None:
        return found
    if found and found[0]["role"] == "system":
        raise InputError("system: the messages begin with a system text already. Pass one of them.")
    return [{"role": "system", "content": checked_content(system, "system")}, *found]


def checked_message(message: Any, where: str) -> Message:
    """A copy of it; raises InputError unless it has a role and a content, both strings, and nothing else."""
    if not isinstance(message, Mapping) or set(message) != {"role", "content"}:
        raise InputError(f"{where}: is {message!r}. Pass {{'role': …, 'content': …}}.")
    return {name: checked_content(message[name], f"{where}: {name}") for name in ("role", "content")}


def checked_content(content: Any, where: str) -> str:
    """A string; raises InputError for anything else."""
    if not isinstance(content, str):
        raise InputError(f"{where}: is {content!r}. Pass a string.")
    return content


def shortened(messages: Sequence[Message]) -> list[list[Message]]:
    """The same without the oldest turn, without the oldest two, … until one is left; pinned messages stay.

    A turn is a user's message with all that follows it until the next one.
    """
    pinned = next((i for i, x in enumerate(messages) if x["role"] in SPEAKERS), len(messages))
    turns = [i for i, x in enumerate(messages) if x["role"] == "user" and i > pinned]
    return [[*messages[:pinned], *messages[start:]] for start in turns]
