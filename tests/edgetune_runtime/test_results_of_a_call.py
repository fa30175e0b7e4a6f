"""Several results of a text, log-probabilities, time, cancellation, callbacks and asynchronous streams."""

import asyncio
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from edgetune_runtime import OptionError

PENALISED = {"repetition_penalty": 1.5, "frequency_penalty": 0.3, "logit_bias": {40: 3.0}}


def told(generation):
    return generation.text, generation.token_ids, generation.finish_reason


def log_softmax(logits):
    wide = logits.astype(np.float64)
    return wide - wide.max() - np.log(np.exp(wide - wide.max()).sum())


@pytest.mark.parametrize("n", [2, 5, 19])
def test_several_results_are_those_of_their_seeds(decoder, n):
    options = {"max_new_tokens": 12, "temperature": 1.0, "stop": []}
    texts = ["once upon", "the sun", "a"]
    found = decoder.generate(texts, seed=7, n=n, **options)
    for row, first in enumerate(found):
        alone = [decoder.generate(texts[row], seed=7 + row * n + i, **options) for i in range(n)]
        assert [told(first), *map(told, first.others)] == list(map(told, alone))
    assert len({x.text for x in (found[0], *found[0].others)}) > 1


def test_several_results_compute_the_text_once(decoder, monkeypatch):
    rows = []
    prefill = type(decoder.decoder).prefill
    monkeypatch.setattr(
        type(decoder.decoder), "prefill", lambda self, x, *more: rows.append(len(x)) or prefill(self, x, *more)
    )
    decoder.generate("once upon a time", n=6, temperature=1.0, max_new_tokens=3)
    assert rows == [1]


def test_an_ensemble_gives_several_results(loaded):
    model = loaded(Path(__file__).parents[1] / "golden" / "decoder-shared")
    options = {"ensemble": ["three", "seven"], "temperature": 1.0, "max_new_tokens": 8}
    first = model.generate("once", seed=3, n=3, **options)
    assert [told(x) for x in (first, *first.others)] == [
        told(model.generate("once", seed=3 + i, **options)) for i in range(3)
    ]


@pytest.mark.parametrize("options", [{}, PENALISED], ids=["plain", "penalised"])
def test_logprobs_are_the_models_own(decoder, options):
    ids = [*range(3, 9)]
    found = decoder.generate(ids, max_new_tokens=6, min_new_tokens=6, stop=[], logprobs=3, **options)
    rows = decoder.completion_logits(ids, found.token_ids)
    assert len(found.logprobs) == len(found.token_ids) == 6
    for logits, token, said in zip(rows, found.token_ids, found.logprobs):
        expected = log_softmax(logits)
        assert said.token_id == token
        assert said.logprob == pytest.approx(expected[token], abs=1e-4)
        assert list(said.top) == np.argsort(-expected, kind="stable")[:3].tolist()
        assert list(said.top.values()) == pytest.approx(np.sort(expected)[::-1][:3], abs=1e-4)


def test_chunks_carry_the_logprobs_of_their_tokens(decoder):
    options = {"max_new_tokens": 9, "logprobs": 0, "stop": []}
    whole, chunks = decoder.generate("the sun", **options), list(decoder.stream("the sun", **options))
    assert [len(x.logprobs) for x in chunks] == [len(x.token_ids) for x in chunks]
    assert [y.token_id for x in chunks for y in x.logprobs] == whole.token_ids
    assert decoder.generate("the sun", max_new_tokens=2).logprobs is None


class After:
    """Is set when it has been asked as often as this."""

    def __init__(self, count):
        self.left = count

    def is_set(self):
        self.left -= 1
        return self.left < 0


def test_a_cancelled_generation_returns_what_there_is(decoder):
    options = {"max_new_tokens": 30, "min_new_tokens": 30, "stop": []}
    whole = decoder.generate("the sun", **options)
    for count in (1, 2, 7):
        found = decoder.generate("the sun", cancel=After(count), **options)
        assert (found.token_ids, found.finish_reason) == (whole.token_ids[:count], "cancelled")
        assert found.text == decoder.tokenizer.decode(found.token_ids)


def test_texts_that_had_not_begun_come_back_empty(decoder):
    found = decoder.generate(["the sun"] * 20, cancel=After(1), min_new_tokens=3, max_new_tokens=3, stop=[])
    assert [(len(x.token_ids), x.finish_reason) for x in found] == [(1, "cancelled")] * 16 + [(0, "cancelled")] * 4


def test_drafting_is_cancelled_as_well(decoder):
    found = decoder.generate("a a a a a", cancel=After(2), prompt_lookup_num_tokens=2, min_new_tokens=30, stop=[])
    assert found.finish_reason == "cancelled" and 0 < len(found.token_ids) < 30


def test_time_ends_a_generation_with_what_there_is(decoder, monkeypatch):
    now = iter(range(10**6))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(now)))
    found = decoder.generate("the sun", max_time_s=12, max_new_tokens=90, min_new_tokens=90, stop=[])
    assert found.finish_reason == "time" and 0 < len(found.token_ids) < 12


def test_a_callback_hears_every_chunk_of_every_result(decoder):
    heard = {}
    found = decoder.generate(
        ["the sun", "once"], n=2, temperature=1.0, seed=1, max_new_tokens=7,
        on_chunk=lambda chunk: heard.setdefault(chunk.index, []).append(chunk),
    )  # fmt: skip
    results = [x for first in found for x in (first, *first.others)]
    assert ["".join(chunk.text for chunk in heard[i]) for i in range(4)] == [x.text for x in results]


def test_an_asynchronous_stream_has_the_same_chunks(decoder):
    async def gathered():
        return [chunk async for chunk in decoder.astream("the sun", max_new_tokens=9)]

    plain = list(decoder.stream("the sun", max_new_tokens=9))
    assert [replace(x, timing=None) for x in asyncio.run(gathered())] == [replace(x, timing=None) for x in plain]


def test_a_cancelled_task_stops_the_generation(decoder):
    steps, entered = [], threading.Event()

    class Watch:
        def is_set(self):
            steps.append(1)
            entered.set()
            return False

    async def endless():
        async for _ in decoder.astream("a", max_new_tokens=100, min_new_tokens=100, stop=[], cancel=Watch()):
            await asyncio.sleep(0.01)

    async def cancelled():
        task = asyncio.create_task(endless())
        await asyncio.to_thread(entered.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert 0 < len(steps) < 90


def test_an_asynchronous_stream_refuses_at_once(decoder):
    with pytest.raises(TypeError, match="'topk'"):
        decoder.astream("a", topk=3)


def test_a_stream_gives_one_result(decoder):
    with pytest.raises(OptionError, match="n: stream gives one result"):
        decoder.stream("a", n=2)


@pytest.mark.parametrize(
    "options", [{"cancel": True}, {"on_chunk": 1}, {"n": None}, {"max_time_s": 0}, {"logprobs": -1}]
)
def test_what_is_no_such_option_is_named(decoder, options):
    with pytest.raises((TypeError, ValueError), match=next(iter(options))):
        decoder.generate("a", **options)
