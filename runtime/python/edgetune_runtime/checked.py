"""Fields of a JSON object, each read with the type that the format gives it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from .errors import EdgetuneError

MISSING: Any = object()


class Fields:
    """One JSON object; `where` (a file, then a path of keys) and the error to raise go with it."""

    def __init__(self, data: dict[str, Any], where: str, error: type[EdgetuneError]):
        self.data, self.where, self.error = data, where, error

    def fail(self, key: str, expected: str) -> EdgetuneError:
        """The error that says what `key` holds instead of what was expected."""
        found = repr(self.data[key])[:80] if key in self.data else "nothing"
        return self.error(f"{self.where}: `{key}` should be {expected}, and holds {found}. Export it again.")

    def exactly(self, key: str, value: str | int) -> None:
        """`key` holds `value`; a format or a version that this runtime knows."""
        found = self.data.get(key)
        if found != value or isinstance(found, bool):
            raise self.error(
                f"{self.where}: `{key}` is {found!r}, and this runtime reads {value!r}. "
                "Update edgetune-runtime, or export again with a matching edgetune."
            )

    def value(self, key: str, default: Any = MISSING) -> Any:
        """Whatever `key` holds; an absent key without a default is an error."""
        if key in self.data:
            return self.data[key]
        if default is MISSING:
            raise self.fail(key, "there")
        return default

    def text(self, key: str, default: Any = MISSING) -> str:
        """A string."""
        found = self.value(key, default)
        if not isinstance(found, str):
            raise self.fail(key, "a string")
        return found

    def matching(self, key: str, pattern: re.Pattern[str]) -> str:
        """A string of that form."""
        found = self.text(key)
        if not pattern.fullmatch(found):
            raise self.fail(key, f"of the form {pattern.pattern}")
        return found

    def optional_text(self, key: str) -> str | None:
        """A string, or None where it is null or absent."""
        return None if self.data.get(key) is None else self.text(key)

    def one_of(self, key: str, choices: Sequence[str]) -> str:
        """One of a few strings."""
        found = self.text(key)
        if found not in choices:
            raise self.fail(key, f"one of {', '.join(map(repr, choices))} (a newer runtime may know others)")
        return found

    def whole(self, key: str, default: Any = MISSING) -> int:
        """A whole number, 0 or more."""
        found = self.value(key, default)
        if not isinstance(found, int) or isinstance(found, bool) or found < 0:
            raise self.fail(key, "a whole number")
        return found

    def positive(self, key: str) -> int:
        """A whole number, 1 or more."""
        if self.whole(key) < 1:
            raise self.fail(key, "a positive number")
        return self.whole(key)

    def optional_whole(self, key: str) -> int | None:
        """A whole number, or None where it is null or absent."""
        return None if self.data.get(key) is None else self.whole(key)

    def optional_number(self, key: str) -> float | None:
        """A finite number, or None where it is null or absent."""
        found = self.data.get(key)
        if found is None:
            return None
        if not isinstance(found, (int, float)) or isinstance(found, bool) or not math.isfinite(found):
            raise self.fail(key, "a number")
        return float(found)

    def flag(self, key: str) -> bool:
        """True or false; false where it is absent."""
        found = self.value(key, False)
        if not isinstance(found, bool):
            raise self.fail(key, "true or false")
        return found

    def wholes(self, key: str) -> list[int]:
        """A list of whole numbers; empty where it is null or absent."""
        found = self.data.get(key)
        found = [] if found is None else found
        if not isinstance(found, list) or not all(
            isinstance(x, int) and not isinstance(x, bool) and x >= 0 for x in found
        ):
            raise self.fail(key, "a list of whole numbers")
        return found

    def lists_of_wholes(self, key: str) -> list[list[int]]:
        """A list of lists of whole numbers, none of them empty; empty where it is null or absent."""
        found = self.value(key, None) or []
        if not isinstance(found, list) or not all(isinstance(part, list) and part for part in found):
            raise self.fail(key, "a list of lists of whole numbers")
        return [Fields({key: part}, self.where, self.error).wholes(key) for part in found]

    def texts(self, key: str) -> list[str]:
        """A list of strings; empty where it is null or absent."""
        found = self.data.get(key)
        found = [] if found is None else found
        if not isinstance(found, list) or not all(isinstance(x, str) for x in found):
            raise self.fail(key, "a list of strings")
        return found

    def object(self, key: str, default: Any = MISSING) -> Fields:
        """An object; its own errors name the key as well."""
        found = self.value(key, default)
        if not isinstance(found, dict):
            raise self.fail(key, "an object")
        return Fields(found, f"{self.where}: {key}", self.error)

    def objects(self, key: str) -> Iterator[tuple[str, Fields]]:
        """The objects of an object, by their keys, in order."""
        inner = self.object(key)
        return ((name, inner.object(name)) for name in inner.data)

    def list_of_objects(self, key: str) -> list[Fields]:
        """A list of objects."""
        found = self.value(key)
        if not isinstance(found, list) or not all(isinstance(x, dict) for x in found):
            raise self.fail(key, "a list of objects")
        return [Fields(x, f"{self.where}: {key}[{i}]", self.error) for i, x in enumerate(found)]
