"""Makes the files that runtimes of every language must refuse: python tests/golden/hostile.py

`hostile.json` holds manifests, adapters and tokenizers by name, and chat templates. A text is a string, or a list of
parts, each a string or `[part, how often]`. An adapter has the text of its header, or null, the length that is said of
it, null for its own, and so many bytes of zeros behind it. A tokenizer is the golden one with other parts. Whatever is
in them ends in an error of ours, or of a tokenizer or a template in an answer, soon and in little memory.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parent
Text = Any
"""A string, or parts of one."""

MANIFESTS: dict[str, Text] = {
    "deep": [["[", 500_000]],
    "deep objects": [['{"x":', 200_000]],
    "deep and whole": [['{"x":', 100_000], "1", ["}", 100_000]],
    "huge": [[" ", 8 << 20], "{}"],
    "many objects": ["[", ["{},", 600_000], "{}]"],
    "twice": '{"format": "edgetune-bundle", "format": "other"}',
    "twice, once escaped": '{"format": "edgetune-bundle", "f\\u006frmat": "edgetune-bundle"}',
    "twice, deep": '{"format": "edgetune-bundle", "graph": {"a": [{"x": 1, "x": 1}]}}',
    "a long number": ['{"format_version": ', ["9", 100_000], "}"],
    "a large number": '{"format_version": 1e400}',
    "not a number": '{"format_version": NaN}',
    "no object": '"edgetune-bundle"',
    "a list": "[]",
    "no text": "\ud800",
    "nothing": "",
}


def entry(dtype: str, shape: list[int], start: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def adapter(header: Text | dict[str, Any] | None, zeros: int = 0, length: int | None = None) -> dict[str, Any]:
    """As the file has it."""
    text = json.dumps(header) if isinstance(header, dict) else header
    return {"header": text, "length": None if length is None else str(length), "zeros": zeros}


F32 = '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
NOTHING = '{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
ADAPTERS = {
    "a gigantic header": adapter("{}", length=2**62),
    "a header longer than the file": adapter("{}", length=10**6),
    "a long header": adapter(['{"__metadata__": {"x": "', ["a", 4 << 20], '"}}']),
    "many tensors": adapter(["{", [f'"x":{NOTHING},', 40_000], f'"y":{F32}}}'], 4),
    "a deep header": adapter([['{"x":', 100_000]]),
    "a deep header that is whole": adapter([['{"x":', 100_000], "1", ["}", 100_000]]),
    "a tensor twice": adapter(f'{{"x":{F32},"x":{F32}}}', 4),
    "metadata twice": adapter(f'{{"__metadata__":{{"edgetune":"{{}}","edgetune":"{{}}"}},"x":{F32}}}', 4),
    "overlapping tensors": adapter({"x": entry("F32", [2], 0, 8), "y": entry("F32", [2], 4, 12)}, 12),
    "overlapping tensors and a gap": adapter({"x": entry("F32", [2], 0, 8), "y": entry("F32", [2], 4, 12)}, 16),
    "the same place twice": adapter({"x": entry("F32", [2], 0, 8), "y": entry("F32", [2], 0, 8)}, 16),
    "a gap": adapter({"x": entry("F32", [1], 0, 4), "y": entry("F32", [1], 8, 12)}, 12),
    "something behind": adapter({"x": entry("F32", [1], 0, 4)}, 8),
    "offsets beyond the file": adapter({"x": entry("F32", [2], 2**40, 2**40 + 8)}, 8),
    "offsets backwards": adapter({"x": entry("F32", [2], 8, 0)}, 8),
    "negative offsets": adapter({"x": entry("F32", [2], -8, 0)}, 8),
    "offsets that are no numbers": adapter('{"x":{"dtype":"F32","shape":[1],"data_offsets":["0",[4]]}}', 4),
    "a tensor that is no object": adapter('{"x":null,"y":3}', 4),
    "a shape that overflows": adapter({"x": entry("F32", [2**32, 2**32], 0, 0)}),
    "a shape that overflows to what is there": adapter({"x": entry("F32", [2**62, 4], 0, 0)}),
    "an empty shape of gigantic sides": adapter({"x": entry("F32", [0, 2**62], 0, 0)}),
    "a type that there is not": adapter({"x": entry("F31", [1], 0, 4)}, 4),
    "a type that numpy lacks": adapter({"x": entry("BF16", [1], 0, 2)}, 2),
    "a type of every object": adapter({"x": entry("constructor", [1], 0, 4)}, 4),
    "no header": adapter(None),
}
METADATA: dict[str, Text] = {
    "deep": [["[", 400_000]],
    "deep objects": [['{"x":', 100_000]],
    "a name twice": '{"name": "a", "name": "b"}',
    "a long number": [["9", 100_000]],
    "nothing": "",
    "a list": "[]",
}


def replacement(pattern: dict[str, str], content: Text) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


TOKENIZERS: dict[str, Any] = {
    "a text that doubles again and again": {
        "normalizer": {"type": "Sequence", "normalizers": [replacement({"String": "a"}, "aa")] * 40}
    },
    "a letter that becomes a book": {"normalizer": replacement({"String": "a"}, "a" * 2_000)},
    "something out of nothing": {"normalizer": replacement({"Regex": ""}, "a" * 2_000)},
    "a long beginning": {"normalizer": {"type": "Prepend", "prepend": "a" * 2_000}},
    "a decoder that doubles": {"decoder": {"type": "Sequence", "decoders": [replacement({"String": "a"}, "aa")] * 40}},
}
TEMPLATES: dict[str, Text] = {
    "nested loops": "{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}",
    "a long range": "{{ range(999999999)|list|length }}",
    "concat": (
        "{% set ns = namespace(x='aaaaaaaaaa') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}"
        "{{ ns.x }}"
    ),
    "plus": (
        "{% set ns = namespace(x='aaaaaaaaaa') %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}"
        "{{ ns.x }}"
    ),
    "a list plus itself": (
        "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}"
        "{{ ns.x|length }}"
    ),
    "a list in itself": (
        "{% set ns = namespace(x=[]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}"
        "{{ ns.x|tojson }}"
    ),
    "replace": (
        "{% set ns = namespace(x='aaaaaaaaaa') %}{% for i in range(11) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}"
        "{{ ns.x.replace('a', ns.x)|length }}"
    ),
    "indent": "{{ 'a\\nb'|indent(300000000)|length }}",
    "tojson": "{{ [[1]]|tojson(indent=300000000)|length }}",
    "a macro that calls twice": (
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}"
    ),
    "a text in a loop": [
        "{% for a in range(9999) %}{% for b in range(9999) %}", ["a", 40_000], "{% endfor %}{% endfor %}",
    ],
    "deep": ["{{ ", ["(", 5000], "1", [")", 5000], " }}"],
    "long": [["a", 70_000]],
}  # fmt: skip


def main() -> None:
    made = {
        "manifests": MANIFESTS, "adapters": ADAPTERS, "metadata": METADATA, "tokenizers": TOKENIZERS,
        "templates": TEMPLATES,
    }  # fmt: skip
    (GOLDEN / "hostile.json").write_text(json.dumps(made, indent=0) + "\n", "utf-8")


if __name__ == "__main__":
    main()
