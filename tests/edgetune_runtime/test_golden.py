"""What a bundle answers is what `expected.json` beside it says; the format is described in `conftest.py`."""

import itertools

import edgetune_runtime
import numpy as np
import pytest
from edgetune_runtime import randomness

ANSWERS = ("classify", "regress", "generate")
"""Calls that take a text or a list of them."""


def text_from(value):
    """A text of `expected.json` as the runtime takes it."""
    return (value["text"], value["pair"]) if isinstance(value, dict) else value


def options_from(case):
    """Keyword arguments of a case; keys of JSON are strings, those of a bias are token ids."""
    options = case.get("options", {})
    bias = options.get("logit_bias")
    return options if bias is None else {**options, "logit_bias": {int(token): x for token, x in bias.items()}}


def is_batch(inputs):
    return isinstance(inputs, list) and not (inputs and isinstance(inputs[0], int))


def answer(model, call, inputs, options):
    if call == "random":
        return list(itertools.islice(integers(inputs), 8))
    if call in ("encode", "decode"):
        return getattr(model.tokenizer, call)(text_from(inputs), **options)
    if call in ANSWERS:
        inputs = [text_from(x) for x in inputs] if is_batch(inputs) else text_from(inputs)
    return getattr(model, call)(inputs, **options)


def integers(seed):
    words = randomness.splitmix32(seed)
    draw = randomness.xoshiro128(words(), words(), words(), words())
    while True:
        yield draw()


def check(call, got, expected, tolerance):
    if call == "classify":
        assert got.label == expected["label"]
        assert list(got.scores) == list(expected["scores"])
        assert got.score == pytest.approx(expected["score"], abs=tolerance)
        assert dict(got.scores) == pytest.approx(expected["scores"], abs=tolerance)
    elif call == "regress":
        assert got.value == pytest.approx(expected["value"], abs=tolerance)
    elif call == "generate":
        found = {"text": got.text, "token_ids": got.token_ids, "finish_reason": got.finish_reason}
        assert found == {key: expected[key] for key in found}
        for other, other_expected in zip(got.others, expected.get("others", []), strict=True):
            check(call, other, other_expected, tolerance)
    elif call in ("encode", "decode", "random"):
        assert got[: len(expected)] == expected if call == "random" else got == expected
    else:
        np.testing.assert_allclose(got, np.array(expected, np.float32).reshape(got.shape), rtol=0, atol=tolerance)


def test_bundle_answers_as_expected(loaded, bundle_folder, case):
    model = loaded(bundle_folder)
    call, inputs, expected = case["call"], case["inputs"], case["expected"]
    options, tolerance = options_from(case), case.get("tolerance", 1e-4)
    if isinstance(expected, dict) and "error" in expected:
        with pytest.raises(getattr(edgetune_runtime, expected["error"])):
            answer(model, call, inputs, options)
        return
    got = answer(model, call, inputs, options)
    if call in ANSWERS and is_batch(inputs):
        assert len(got) == len(expected)
        for one, one_expected in zip(got, expected):
            check(call, one, one_expected, tolerance)
    else:
        check(call, got, expected, tolerance)
    if call == "generate" and not is_batch(inputs) and options.get("n", 1) == 1:
        check_stream(list(model.stream(inputs, **options)), expected)


def check_stream(chunks, expected):
    assert "".join(chunk.text for chunk in chunks) == expected["text"]
    assert [t for chunk in chunks for t in chunk.token_ids] == expected["token_ids"]
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == [expected["finish_reason"]]
