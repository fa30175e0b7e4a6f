"""Records what the options of a generation give, beside each golden decoder: python tests/golden/options.py

The answers are the Python runtime's own, in `options.json`, in the form of `expected.json`: what its tests hold against
independent references, every other language must repeat, token by token.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import edgetune_runtime

TEXT = "once upon a time"
SAMPLING: list[dict[str, Any]] = [
    {"temperature": 0.7, "min_p": 0.05, "seed": 11},
    {"temperature": 1.5, "min_p": 0.2, "top_p": 0.95, "seed": 12},
    {"temperature": 1.0, "top_k": 5, "seed": 4294967290},
    {"temperature": 0.01, "seed": 5},
    {"temperature": 1.0, "top_p": 0.05, "seed": 9},
]
PENALTIES: list[dict[str, Any]] = [
    {"repetition_penalty": 1.3},
    {"presence_penalty": 0.9},
    {"frequency_penalty": 0.4},
    {"repetition_penalty": 1.1, "presence_penalty": 0.3, "frequency_penalty": -0.2, "temperature": 1.0, "seed": 21},
    {"repetition_penalty": 0.8, "temperature": 0.9, "top_k": 40, "seed": 22},
]
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"temperature": -1.0}, "OptionError"),
    ({"top_p": 0.0}, "OptionError"),
    ({"top_k": 0}, "OptionError"),
    ({"min_p": 1.5}, "OptionError"),
    ({"max_new_tokens": 0}, "OptionError"),
    ({"min_new_tokens": 9, "max_new_tokens": 8}, "OptionError"),
    ({"repetition_penalty": 0.0}, "OptionError"),
    ({"stop": [""]}, "OptionError"),
    ({"temperature": "warm"}, "InputError"),
    ({"no_such_option": 1}, "InputError"),
]


def told(result: edgetune_runtime.Generation) -> dict[str, Any]:
    """What a case expects of a generation."""
    found: dict[str, Any] = {
        "text": result.text,
        "token_ids": list(map(int, result.token_ids)),
        "finish_reason": result.finish_reason,
    }
    return {**found, "others": [told(x) for x in result.others]} if result.others else found


def recorded(model: edgetune_runtime.Model, inputs: Any, options: dict[str, Any]) -> dict[str, Any]:
    """A case with the model's own answer; a bias by token has numbers for keys in JSON as well as in a call."""
    bias = options.get("logit_bias")
    given = options if bias is None else {**options, "logit_bias": {int(k): v for k, v in bias.items()}}
    results = model.generate(inputs, **given)
    expected = [told(x) for x in results] if isinstance(results, list) else told(results)
    return {"call": "generate", "inputs": inputs, "options": options, "expected": expected}


def stopping(model: edgetune_runtime.Model, options: dict[str, Any]) -> list[dict[str, Any]]:
    """Stop strings that lie in a text, at its beginning, and nowhere."""
    text = model.generate(TEXT, max_new_tokens=24, **options).text
    places = [text[2:4], text[5:8], text[:1], [text[9:11], "nowhere"], "nowhere"]
    return [recorded(model, TEXT, {**options, "max_new_tokens": 24, "stop": stop}) for stop in places]


def cases_of(model: edgetune_runtime.Model) -> list[dict[str, Any]]:
    """All cases of one decoder, for its first adapter."""
    first: dict[str, Any] = {"adapter": next(iter(model.adapters))}
    twenty_four = {**first, "max_new_tokens": 24}
    likely = model.generate(TEXT, max_new_tokens=4, **first).token_ids
    cases = [recorded(model, TEXT, {**twenty_four, **x}) for x in [*SAMPLING, *PENALTIES]]
    bias = {str(likely[0]): -100.0, str(likely[1]): 2.5}
    cases.append(recorded(model, TEXT, {**twenty_four, "logit_bias": bias}))
    cases.append(recorded(model, TEXT, {**twenty_four, "logit_bias": bias, "temperature": 1.0, "seed": 31}))
    ended = {str(model.eos_token_ids[0]): 100.0}
    cases.append(recorded(model, TEXT, {**twenty_four, "logit_bias": ended}))
    cases.append(recorded(model, TEXT, {**twenty_four, "logit_bias": ended, "min_new_tokens": 5}))
    cases += stopping(model, first)
    cases.append(recorded(model, TEXT, {**first, "max_new_tokens": 12, "temperature": 1.0, "seed": 41, "n": 3}))
    several = [TEXT, "will it rain?", [5, 6, 7, 8, 9], ""]
    cases.append(recorded(model, several, {**first, "max_new_tokens": 12, "temperature": 1.0, "seed": 51, "n": 2}))
    # as many texts as decode together, and some more, that end one after the other
    many = [TEXT[:i] for i in range(19)]
    cases.append(recorded(model, many, {**first, "max_new_tokens": 14, "temperature": 1.0, "seed": 61, "stop": ["e"]}))
    refused = [
        {"call": "generate", "inputs": TEXT, "options": {**first, **options}, "expected": {"error": error}}
        for options, error in REFUSED
    ]
    return cases + refused


def lines_of(cases: list[dict[str, Any]]) -> str:
    """One case a line."""
    return "[\n" + ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases) + "\n]\n"


def record(folder: Path) -> None:
    """Writes `options.json` beside the manifest of a decoder's bundle."""
    model = edgetune_runtime.load(folder, threads=1)
    (folder / "options.json").write_text(lines_of(cases_of(model)), encoding="utf-8")


if __name__ == "__main__":
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for path in sorted(root.glob("decoder-*/bundle.json")):
        record(path.parent)
