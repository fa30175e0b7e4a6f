"""How much a chat template may do: it is a program that comes with a model, and jinja's sandbox bounds neither time nor
memory.

Loops, calls, filters and operators spend from a budget that is drawn up anew for each rendering; what they make is
counted in characters. A template of a chat model spends a few hundred steps.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable, Iterator
from functools import wraps
from typing import Any

STEPS = 200_000
"""Passes of loops, calls and filters, beside one for each character of the messages."""
CHARACTERS = 4_000_000
"""That are written or made on the way, beside what the messages take."""
PER_CHARACTER = 256
"""Characters made on the way for each one of the messages: every filter that passes one on makes it anew."""
SECONDS = 0.8
"""Beside as many again for each million characters of the messages."""
MULTIPLYING = ("replace", "join", "translate", "expandtabs", "indent", "wordwrap", "urlize")
"""What may make each character of its text as many as an argument says."""
LARGEST = 100_000
"""A whole number that a call, a filter or an operator is given: widths and counts."""


SIZED = (int, str, bytes, list, tuple)


class Spent(threading.local):
    """What the rendering of this thread has left."""

    steps, characters, until = 0, 0, 0.0

    def begin(self, given: int) -> None:
        """A rendering of messages of `given` characters."""
        self.steps, self.characters = STEPS + given, CHARACTERS + PER_CHARACTER * given
        self.until = time.thread_time() + SECONDS * (1 + given / 1_000_000)

    def spend(self, characters: int = 0) -> None:
        """A step that makes as many characters; raises TemplateError where there is no more of either."""
        self.steps -= 1
        self.characters -= characters
        if self.steps < 0 or self.characters < 0 or time.thread_time() > self.until:
            from jinja2 import TemplateRuntimeError

            raise TemplateRuntimeError("it does more than a chat template may: loops, repeats or writes too much")

    def refuse_large(self, values: Iterable[Any]) -> None:
        """Raises TemplateError for numbers with which one operation makes much of little."""
        for x in values:
            if isinstance(x, (list, tuple)):
                self.refuse_large(y for y in x if isinstance(y, int))
            elif isinstance(x, int) and abs(x) > LARGEST:
                self.steps = -1
                self.spend()

    def weighed(self, value: Any) -> Any:
        """The value, counted with all that is in it, as often as it is in it: what a text of it would take."""
        stack = [value]
        while stack:
            x = stack.pop()
            if isinstance(x, dict):
                stack += [*x, *x.values()]
            elif isinstance(x, (list, tuple)):
                stack += x
            self.spend(len(x) if isinstance(x, (str, bytes, list, tuple, dict)) else 1)
            self.steps += 1
        self.spend()
        return value

    def before(self, name: str, subject: Any, given: list[Any]) -> None:
        """What an operation on `subject` may make, counted before it does."""
        self.refuse_large(given)
        self.weighed(subject if isinstance(subject, (list, tuple, dict)) else None)
        size = len(subject) if isinstance(subject, (str, bytes, list, tuple)) else 1
        many = [len(x) if isinstance(x, (str, bytes, list, tuple)) else abs(x) for x in given if isinstance(x, SIZED)]
        self.spend(size * max([1, *many]) if name in MULTIPLYING else size + sum(many))
        if name in ("format", "%") and isinstance(subject, str):
            self.spend(sum(int(x[:9]) for x in re.findall(r"[0-9]+", subject)))
            self.weighed([x for x in given if isinstance(x, (list, tuple, dict))])
            self.spend(
                sum(abs(y) for x in given for y in (x if isinstance(x, (list, tuple)) else [x]) if isinstance(y, int))
            )

    def passes(self, values: Iterable[Any], characters: int) -> Iterator[Any]:
        """The values of a loop whose body writes as many characters by itself."""
        for x in values:
            self.spend(characters)
            yield x


def bounded(sandbox: type[Any]) -> type[Any]:
    """The class of jinja environments `sandbox`, whose templates have a budget: `environment.spent`."""
    from jinja2 import nodes

    class Bounded(sandbox):
        intercepted_binops = frozenset(("*", "**", "+", "-", "/", "//", "%"))

        def __init__(self, **options: Any):
            super().__init__(finalize=self._written, **options)
            self.spent = Spent()
            self.filters = {name: self.counted(x, name) for name, x in self.filters.items()}
            self.filters |= {"pass_of": self.spent.passes, "joined_as_text": self._joined}
            self.filters["weighed"] = self.spent.weighed
            for name in ("lipsum", "cycler", "joiner"):
                self.globals.pop(name, None)

        def _parse(self, source: str, name: Any, filename: Any) -> Any:
            tree = super()._parse(source, name, filename)
            for loop in list(tree.find_all(nodes.For)):
                own = sum(len(x.data) for x in loop.find_all(nodes.TemplateData))
                if loop.recursive:
                    raise self._refused(loop, "recursive loops")
                loop.iter = nodes.Filter(loop.iter, "pass_of", [nodes.Const(own)], [], None, None, lineno=loop.lineno)
            for macro in list(tree.find_all(nodes.Macro)):
                own = sum(len(x.data) for x in macro.find_all(nodes.TemplateData))
                spent = nodes.Filter(nodes.List([nodes.Const(0)]), "pass_of", [nodes.Const(own)], [], None, None)
                macro.body.insert(
                    0, nodes.For(nodes.Name("_", "store"), spent, [], [], None, False, lineno=macro.lineno)
                )
            self._replace(tree)
            return tree

        def _replace(self, node: Any) -> None:
            """Texts that are put together with `~` are made by a filter, which counts."""
            for field, value in node.iter_fields():
                if isinstance(value, nodes.Node):
                    setattr(node, field, self._without_concat(value))
                elif isinstance(value, list):
                    value[:] = [self._without_concat(x) if isinstance(x, nodes.Node) else x for x in value]
            return None

        def _without_concat(self, node: Any) -> Any:
            self._replace(node)
            made = isinstance(node, nodes.Dict | nodes.List) or (isinstance(node, nodes.Tuple) and node.ctx == "load")
            if made and node.items:
                return nodes.Filter(node, "weighed", [], [], None, None, lineno=node.lineno)
            if not isinstance(node, nodes.Concat):
                return node
            parts = nodes.List(node.nodes, lineno=node.lineno)
            return nodes.Filter(parts, "joined_as_text", [], [], None, None, lineno=node.lineno)

        def _refused(self, node: Any, what: str) -> Exception:
            from jinja2 import TemplateSyntaxError

            return TemplateSyntaxError(f"{what} are not for chat templates", node.lineno)

        def _joined(self, parts: list[Any]) -> str:
            self.spent.weighed(parts)
            return "".join(map(str, parts))

        def _written(self, value: Any) -> Any:
            return self.spent.weighed(value)

        def counted(self, function: Any, name: str = "") -> Any:
            """The filter, which spends."""

            @wraps(function)
            def counted(*given: Any, **named: Any) -> Any:
                # filters that want the environment or the context have it in front
                own = 1 if hasattr(function, "jinja_pass_arg") else 0
                self.spent.before(name, given[own], [*given[own + 1 :], *named.values()])
                return self._made(function(*given, **named))

            return counted

        def _made(self, value: Any) -> Any:
            return self.spent.weighed(value) if isinstance(value, (str, bytes, list, tuple, dict)) else value

        def call(self, context: Any, obj: Any, /, *given: Any, **named: Any) -> Any:
            name = getattr(obj, "__name__", "")
            owner = getattr(obj, "__self__", None)
            if owner is None and name == "format":  # what the sandbox puts in the place of str.format
                owner = next((x.cell_contents for x in obj.__closure__ or () if isinstance(x.cell_contents, str)), None)
            self.spent.before(name, owner if isinstance(owner, (str, bytes)) else None, [*given, *named.values()])
            return self._made(super().call(context, obj, *given, **named))

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if operator in ("*", "**", "%"):
                self.spent.refuse_large([left, right])
            if operator == "*":
                text, count = (left, right) if isinstance(right, int) else (right, left)
                if isinstance(text, SIZED[1:]) and isinstance(count, int):
                    self.spent.spend(len(text) * max(count, 0))
            if operator == "**" and isinstance(right, int):
                self.spent.spend(abs(right) * 8)
            if operator == "%" and isinstance(left, str):
                self.spent.before("%", left, [right])
            if operator == "+" and isinstance(left, SIZED[1:]) and isinstance(right, SIZED[1:]):
                self.spent.spend(len(left) + len(right))
            return self._made(super().call_binop(context, operator, left, right))

    return Bounded
