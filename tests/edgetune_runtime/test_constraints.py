"""Constrained output: always one of the choices, a match, valid JSON, a text of the grammar."""

import json
import re
import sys
import threading
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from edgetune_runtime import InputError, MissingExtraError, OptionError, TaskError
from edgetune_runtime.closing import CLOSERS, Closing
from edgetune_runtime.constraints import Constraints
from edgetune_runtime.encoder_decoder import Forced
from edgetune_runtime.options import Resolved, options_from
from edgetune_runtime.progress import Progress, Request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from references.schemas import SCHEMAS

QUIET = [HealthCheck.function_scoped_fixture]


@pytest.fixture(scope="module")
def model(loaded):
    return loaded(Path(__file__).parents[1] / "golden" / "decoder-shared")


@settings(max_examples=50, deadline=None, suppress_health_check=QUIET)
@given(schema=SCHEMAS, seed=st.integers(0, 2**32 - 1))
def test_every_output_parses_and_fits_its_schema(model, schema, seed):
    found = model.generate("a", json_schema=schema, temperature=1.0, seed=seed, logit_bias={100: 1.0})
    if found.finish_reason == "eos":
        jsonschema.validate(json.loads(found.text), schema)
    else:  # 128 positions are few: not even the shortest text fits, and what was cut says so
        assert found.finish_reason == "length" and len(shortest_text(schema)) > len(found.token_ids) > 100


def shortest_text(schema):
    kind = schema.get("type")
    if kind == "object":
        inner = [f"{json.dumps(k)}:{shortest_text(schema['properties'][k])}" for k in schema["required"]]
        return "{" + ",".join(inner) + "}"
    if kind == "array":
        return "[" + ",".join([shortest_text(schema["items"])] * schema["minItems"]) + "]"
    if "enum" in schema:
        return min((json.dumps(x) for x in schema["enum"]), key=len)
    return {"boolean": "true", "null": "null", "string": '"' + "a" * schema.get("minLength", 0) + '"'}.get(kind, "0")


ENDLESS = {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]}}


@pytest.mark.parametrize("most", [2, 3, 10, 25, 60, 90])
def test_what_could_go_on_for_ever_is_brought_to_an_end(model, most):
    first = model.generate("a", json_schema=ENDLESS, max_new_tokens=most, temperature=1.5, seed=5, n=8)
    for found in (first, *first.others):
        jsonschema.validate(json.loads(found.text), ENDLESS)
        assert found.finish_reason == "eos" and len(found.token_ids) <= most


class Brackets:
    """Token 1 opens, token 2 closes; a text is whole where nothing is open."""

    def __init__(self, depth=0):
        self.depth = depth

    def deep_copy(self):
        return Brackets(self.depth)

    def is_accepting(self):
        return self.depth == 0

    def compute_ff_tokens(self):
        return []

    def compute_bitmask(self):
        return bytes([0b110 if self.depth else 0b10])

    def try_consume_tokens(self, tokens):
        self.depth += sum({1: 1, 2: -1}[x] for x in tokens)
        return len(tokens)


@pytest.mark.parametrize(
    ("depth", "token", "left", "taken"),
    [(1, 1, 200, 1), (1, 1, 3, 1), (1, 1, 2, 2), (5, 1, 6, 2), (5, 1, 7, 1), (0, 1, 2, 1), (0, 1, 1, 7), (3, 1, 2, 1)],
)
def test_a_token_is_taken_only_if_the_text_can_still_end(depth, token, left, taken):
    closing = Closing(Brackets(), [2] * len(CLOSERS), end=7, most=100)
    assert closing.within(Brackets(depth), token, left) == taken


@settings(max_examples=30, deadline=None, suppress_health_check=QUIET)
@given(
    choices=st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8), min_size=1),
    temperature=st.sampled_from([0.0, 1.0]),
)
def test_a_choice_is_one_of_the_strings(model, choices, temperature):
    found = model.generate("the sun", choices=choices, temperature=temperature, seed=1)
    assert found.text in choices and found.finish_reason == "eos"


def test_every_choice_can_come(model):
    first = model.generate("a", choices=["yes", "no", "maybe"], temperature=3.0, seed=1, n=60)
    assert {x.text for x in (first, *first.others)} == {"yes", "no", "maybe"}


@pytest.mark.parametrize("pattern", ["[0-9]{3}-[0-9]{4}", "(a|bc){2,5}", "Zürich|日本語", "[0-9]+ (apples|pears)"])
def test_the_whole_text_matches_the_expression(model, pattern):
    first = model.generate("a", regex=pattern, temperature=1.0, seed=3, n=8, max_new_tokens=60)
    for found in (first, *first.others):
        assert found.finish_reason == "eos" and re.fullmatch(pattern, found.text)


def test_a_text_follows_a_grammar(model):
    grammar = 'start: sum\nsum: number ("+" number)~0..3\nnumber: /[1-9][0-9]{0,2}/'
    for found in model.generate(["a", "b", "c"], grammar=grammar, temperature=1.0, seed=3):
        assert re.fullmatch(r"[1-9]\d{0,2}(\+[1-9]\d{0,2}){0,3}", found.text)


def test_what_is_cut_says_so(model):
    found = model.generate("a", regex="[a-z]{40}", max_new_tokens=5)
    assert (found.finish_reason, len(found.token_ids)) == ("length", 5)
    whole = model.generate("a", regex="a{3,90}", max_new_tokens=3, logit_bias={1: -100.0})
    assert whole.finish_reason == "eos" and re.fullmatch("a{3,90}", whole.text)


def test_the_pieces_of_a_stream_are_the_whole(model):
    options = {"json_schema": {"type": "array", "items": {"type": "integer", "maximum": 99}, "maxItems": 4}}
    whole = model.generate("a", temperature=1.0, seed=4, **options)
    assert "".join(x.text for x in model.stream("a", temperature=1.0, seed=4, **options)) == whole.text


def test_drafting_writes_the_same(model):
    options = {"regex": "(ab|cd){10}", "max_new_tokens": 60}
    plain, drafted = (model.generate("abababab", prompt_lookup_num_tokens=x, **options) for x in (None, 4))
    assert drafted.text == plain.text


def test_an_ensemble_follows_too(model):
    found = model.generate("a", ensemble=["three", "seven"], choices=["left", "right"], temperature=1.0, seed=2)
    assert found.text in ("left", "right")


@pytest.mark.parametrize("last", [None, 101])
def test_what_stands_between_forced_tokens_is_the_grammars(model, last):
    """As of encoder–decoders, whose first and last token are their configuration's."""
    options = options_from({"json_schema": ENDLESS})
    constraints = Constraints(model.tokenizer, model.manifest.graph.vocab_size, model.eos_token_ids)
    resolved = Resolved(max_new_tokens=20, min_new_tokens=0, temperature=1.0, top_k=None, top_p=None, seed=3, stop=())
    request = Request(np.array([5]), None, resolved, Forced(100, last), constraints.grammar(options))
    progress, random = Progress(request, model.tokenizer, model.eos_token_ids, 0.0), np.random.default_rng(0)
    chunks = []
    while not chunks or chunks[-1].finish_reason is None:
        if chunk := progress.take(random.normal(size=320).astype(np.float32)):
            chunks.append(chunk)
    ids = [t for chunk in chunks for t in chunk.token_ids]
    jsonschema.validate(json.loads(model.tokenizer.decode(ids[1 : ids.index(101) if 101 in ids else None])), ENDLESS)
    assert (ids[0], chunks[-1].finish_reason) == (100, "eos") and len(ids) <= 20


def test_threads_may_share_the_vocabulary(loaded):
    from edgetune_runtime import load

    fresh, found = load(Path(__file__).parents[1] / "golden" / "decoder-shared", threads=1), []
    threads = [
        threading.Thread(target=lambda i=i: found.append(fresh.generate("a", choices=[f"x{i}"]).text == f"x{i}"))
        for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 8


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"regex": "(a"}, OptionError, "regex"),
        ({"grammar": "start: nowhere"}, OptionError, "grammar"),
        ({"json_schema": "{"}, OptionError, "json_schema"),
        ({"json_schema": {"type": "colour"}}, OptionError, "json_schema"),
        ({"json_schema": 3}, InputError, "json_schema"),
        ({"choices": "yes"}, InputError, "choices"),
        ({"choices": []}, OptionError, "choices"),
        ({"choices": ["a"], "regex": "a"}, OptionError, "choices and regex"),
        ({"choices": ["a"], "min_new_tokens": 3}, OptionError, "min_new_tokens"),
        ({"regex": "a", "logit_bias": dict.fromkeys(range(320), float("-inf"))}, OptionError, "logit_bias"),
    ],
)
def test_what_cannot_be_followed_is_named(model, options, error, message):
    with pytest.raises(error, match=message):
        model.generate("a", **options)


def test_a_tokenizer_that_cannot_be_read_is_named():
    from edgetune_runtime.options import options_from
    from edgetune_runtime.tokenizer import Tokenizer
    from tokenizers import Tokenizer as Inner
    from tokenizers.models import WordLevel

    words = Tokenizer(Inner(WordLevel({"a": 0, "</s>": 1}, unk_token="a")))
    with pytest.raises(TaskError, match="cannot read this bundle's tokenizer"):
        Constraints(words, 2, [1]).grammar(options_from({"choices": ["a"]}))


def test_without_the_extra_it_is_named(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(MissingExtraError, match=r"edgetune-runtime\[constrained\]"):
        model.generate("a", choices=["a"])
