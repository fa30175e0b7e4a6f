"""A conversation as the text that a chat model was trained on: its jinja template, rendered as transformers does it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from .chat_bounds import bounded
from .errors import BundleError, InputError, MissingExtraError

MOST_CHARACTERS = 60_000
"""Of a template's source."""
Message = dict[str, str]
"""`{"role": "system", "user" or "assistant", "content": the text}`."""


class ChatTemplate:
    """The source of a template; it is compiled as it is first wanted, which needs jinja2. Threads may share it."""

    def __init__(self, source: str, special_tokens: Mapping[str, str], where: str = "the chat template"):
        self.source = source
        """In jinja's language, as Hugging Face's templates are."""
        self._special_tokens, self._where = dict(special_tokens), where

    def rendered(self, messages: Sequence[Message]) -> str:
        """The conversation, up to where the assistant's next message begins; its special tokens are in the text.

        Raises InputError with the template's own words where it does not take these messages, BundleError if it is no
        template, MissingExtraError without jinja2.
        """
        template = self.compiled()
        given = {"messages": [dict(x) for x in messages], "tools": None, "documents": None}
        template.environment.spent.begin(sum(len(x) for message in messages for x in message.values()))
        try:
            return template.render(**{**self._special_tokens, **given, "add_generation_prompt": True})
        except Exception as error:  # a template is a program: besides jinja's own errors it can raise Python's
            reason = str(error).strip() or type(error).__name__
            raise InputError(f"{self._where} does not take these messages: {reason.splitlines()[0]}.") from error

    def compiled(self) -> Any:
        """Jinja's own form of it; raises BundleError and MissingExtraError as `rendered` does."""
        import_jinja()
        return self._compiled

    @cached_property
    def _compiled(self) -> Any:
        from jinja2 import TemplateSyntaxError

        try:
            if len(self.source) > MOST_CHARACTERS:
                raise BundleError(f"{self._where}: has more than {MOST_CHARACTERS} characters. Shorten it.")
            return environment().from_string(self.source)
        except (TemplateSyntaxError, RecursionError, SyntaxError, MemoryError, ValueError, OverflowError) as error:
            raise BundleError(f"{self._where}: is no jinja template ({error}). Correct it.") from error


def read_chat_template(path: Path, special_tokens: Mapping[str, str]) -> ChatTemplate:
    """The template in the file at `path`; raises BundleError if it cannot be read."""
    try:
        return ChatTemplate(path.read_bytes().decode("utf-8"), special_tokens, str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{path}: cannot be read ({error}). Copy or export the bundle again.") from None


def import_jinja() -> None:
    """Raises MissingExtraError where jinja2 is not installed, or too old to keep a template in its sandbox."""
    try:
        import jinja2
    except ImportError:
        raise MissingExtraError(
            "chat templates need jinja2. Install it with `pip install edgetune-runtime[chat]`."
        ) from None
    if tuple(int(x) for x in jinja2.__version__.split(".")[:3] if x.isdigit()) < (3, 1, 6):
        raise MissingExtraError(
            f"chat templates need jinja2 3.1.6 or later, and {jinja2.__version__} is here. Install it with "
            "`pip install -U edgetune-runtime[chat]`."
        )


def environment() -> Any:
    """What templates find, and the sandbox that they stay in: they come with a model, and are somebody else's code."""
    from jinja2 import TemplateError
    from jinja2.exceptions import SecurityError
    from jinja2.ext import Extension, loopcontrols
    from jinja2.nodes import Scope
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from jinja2.utils import Namespace

    class Generation(Extension):
        """`{% generation %}` marks what an assistant said, for training: here it is its content."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return Scope(body).set_lineno(line)

    class PlainNamespace(Namespace):
        """No name with an underscore in front: those lead out of the sandbox."""

        def __init__(*args: Any, **values: Any):
            for name in dict(*args[1:], **values):
                refuse_hidden(name)
            Namespace.__init__(*args, **values)

        def __setitem__(self, name: str, value: Any) -> None:
            refuse_hidden(name)
            Namespace.__setitem__(self, name, value)

    class PlainDict:
        """`dict(...)` of a template, without the type's own attributes."""

        def __call__(self, *args: Any, **values: Any) -> dict[Any, Any]:
            return dict(*args, **values)

        def fromkeys(self, *args: Any) -> dict[Any, Any]:
            return dict.fromkeys(*args)

    def refuse_hidden(name: Any) -> None:
        if isinstance(name, str) and name.startswith("_"):
            raise SecurityError(f"a namespace has no place for {name!r}")

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    def tojson(value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None,
               sort_keys: bool = False) -> str:  # fmt: skip
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    found = bounded(ImmutableSandboxedEnvironment)(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    found.filters["tojson"] = found.counted(tojson, "indent")
    found.globals.update(
        raise_exception=raise_exception, dict=PlainDict(), namespace=PlainNamespace,
        strftime_now=lambda format: datetime.now().strftime(format),
    )  # fmt: skip
    return found
