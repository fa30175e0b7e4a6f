"""Scores of continuations are the log-softmax of what the whole text gives, run at once without a cache."""

import math

import edgetune_runtime
import numpy as np
import pytest
from edgetune_runtime import ContextLengthError, InputError, TaskError
from edgetune_runtime.scoring import logprobs_of

from .conftest import GOLDEN

CONTINUATIONS = [" a time", " the sea", "x", " there was a little bird who lived in a tall green tree"]


def log_softmax(logits):
    wide = np.asarray(logits, np.float64)
    wide = wide - wide.max(-1, keepdims=True)
    return wide - np.log(np.exp(wide).sum(-1, keepdims=True))


def expected_logprobs(model, ids, continuation, adapter):
    logits = model.logits([*ids, *continuation], adapter=adapter)[len(ids) - 1 : -1]
    return log_softmax(logits)[np.arange(len(continuation)), list(continuation)]


def choices_of(model):
    return [*model.adapters] + ([None] if model.manifest.form == "shared" else [])


def test_scores_are_those_of_the_whole_text(decoder):
    ids = decoder.tokenizer.encode("once upon")
    for name in choices_of(decoder):
        scores = decoder.score("once upon", CONTINUATIONS, adapter=name)
        assert [x.text for x in scores] == CONTINUATIONS
        for score in scores:
            assert list(score.token_ids) == decoder.tokenizer.encode(score.text, add_special_tokens=False)
            expected = expected_logprobs(decoder, ids, score.token_ids, name)
            np.testing.assert_allclose(score.token_logprobs, expected, rtol=0, atol=1e-4)
            assert score.logprob == pytest.approx(expected.sum(), abs=1e-3)
            assert score.logprob_per_token == pytest.approx(expected.mean(), abs=1e-4)
            assert score.logprob_per_byte == pytest.approx(expected.sum() / len(score.text.encode()), abs=1e-4)
            assert score.perplexity == pytest.approx(math.exp(-expected.mean()), rel=1e-3)


def test_the_order_of_continuations_changes_nothing(decoder):
    forward, backward = (decoder.score("once upon", x) for x in (CONTINUATIONS, CONTINUATIONS[::-1]))
    for a, b in zip(forward, backward[::-1], strict=True):
        np.testing.assert_allclose(a.token_logprobs, b.token_logprobs, rtol=0, atol=1e-5)


def test_one_continuation_gives_one_score_and_ids_are_taken_as_they_are(decoder):
    ids = decoder.tokenizer.encode("once upon")
    one = decoder.score("once upon", " a time")
    assert one == decoder.score("once upon", [" a time"])[0]
    assert decoder.score(ids, list(one.token_ids)).token_logprobs == one.token_logprobs
    assert decoder.score("once upon", np.array(one.token_ids)).text == " a time"
    assert decoder.score("once upon", []) == []


def test_the_end_is_scored_on_request(decoder):
    plain, ended = (decoder.score("once upon", " a time", end=x) for x in (False, True))
    assert ended.token_ids == (*plain.token_ids, decoder.eos_token_ids[0])
    expected = expected_logprobs(
        decoder,
        decoder.tokenizer.encode("once upon"),
        ended.token_ids,
        decoder.default_adapter or choices_of(decoder)[0],
    )
    np.testing.assert_allclose(ended.token_logprobs, expected, rtol=0, atol=1e-4)


def test_the_text_runs_once_however_many_continuations_there_are(decoder, monkeypatch):
    prefilled, engine = [], type(decoder.decoder)
    prefill = engine.prefill

    def counted(self, rows, *rest):
        prefilled.append(len(rows))
        return prefill(self, rows, *rest)

    monkeypatch.setattr(engine, "prefill", counted)
    decoder.score("once upon", CONTINUATIONS)
    assert prefilled == [1]


def test_what_cannot_be_scored_is_refused(decoder):
    limit = decoder.manifest.graph.max_positions
    virtual = decoder.adapters[choices_of(decoder)[0]].virtual_tokens
    fits = [5] * (limit - virtual - 2)
    assert len(decoder.score([5, 5], fits, adapter=choices_of(decoder)[0]).token_ids) == len(fits)
    with pytest.raises(ContextLengthError, match="continuation 1"):
        decoder.score([5, 5], [fits, [*fits, 5]], adapter=choices_of(decoder)[0])
    with pytest.raises(InputError, match="continuation 1 has no tokens"):
        decoder.score("once", ["upon", ""])
    with pytest.raises(InputError, match="one text"):
        decoder.score(["once", "upon"], "a")
    with pytest.raises(InputError, match=r"continuation 0.*vocabulary"):
        decoder.score("once", [10**6, 4])


def test_an_encoder_scores_nothing():
    with pytest.raises(TaskError, match="encoder"):
        edgetune_runtime.load(GOLDEN / "encoder-shared", threads=1).score("a", "b")


def test_logprobs_stay_right_far_from_zero():
    logits = np.array([[1000.0, 0.0, -1000.0], [-3e4, -3e4, -np.inf]], np.float32)
    np.testing.assert_allclose(logprobs_of(logits, np.array([1, 0])), [-1000.0, -math.log(2)], rtol=1e-6)
