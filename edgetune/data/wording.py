"""How places, names and values are worded in an error about data: always within one line."""

import json
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

SHOWN = 10
"""So many names of a longer list are spelled out."""

LONGEST = 60
"""A value longer than so many characters is cut."""

JSON_KINDS = {
    type(None): "null",
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
}


def place(path: Path, line: int) -> str:
    """`train.jsonl:17`, which editors can follow; a Parquet file has rows, not lines; line 0 is the file as a whole."""
    if not line:
        return str(path)
    return f"{path}, row {line}" if path.suffix.lower() == ".parquet" else f"{path}:{line}"


def quoted(text: str) -> str:
    """The text in double quotes, on one line, cut when long."""
    cut = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    return json.dumps(cut, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()


def quoted_list(names: Iterable[str]) -> str:
    """The first names in quotes, and how many more there are."""
    every = list(names)
    listed = ", ".join(quoted(name) for name in every[:SHOWN])
    return listed + (f" and {len(every) - SHOWN} more" if len(every) > SHOWN else "")


def kind(value: object) -> str:
    """What the value is in JSON's terms: `a number`, `a list`."""
    return JSON_KINDS.get(type(value), f"a value of type {type(value).__name__}")


def guess(name: str, known: Iterable[str]) -> str:
    """` (did you mean "x"?)` where a known name is near, otherwise nothing."""
    nearest = get_close_matches(name, list(known), n=1)
    return f" (did you mean {quoted(nearest[0])}?)" if nearest else ""
