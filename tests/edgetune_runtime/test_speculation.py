"""Drafts from the text itself: what is drafted, how much, and that the text is the one written without drafts."""

import random
from functools import partial

import numpy as np
import pytest
from edgetune_runtime import OptionError
from edgetune_runtime.generation import Request, generated_chunks, generation_from
from edgetune_runtime.options import Resolved
from edgetune_runtime.speculation import LONGEST_PAUSE, Lookup, Pace, speculative_chunks

from .conftest import GOLDEN

END = 0
LETTERS = ["", *"abcdefghijklmnopqrstuvwxyz"]


class Letters:
    """Token i is the i-th letter; token 0 is the end."""

    def decode(self, token_ids):
        return "".join(LETTERS[i] for i in token_ids)


class Script:
    """A decoder that knows one text by heart: behind its first n tokens comes token n, and at its end the end.

    It counts its runs, and refuses a state of more tokens than a text with `limit` new ones has.
    """

    def __init__(self, text, limit):
        self.text, self.limit, self.runs = text, limit, 0

    def prefill(self, rows, adapters, reserve=0):
        return self.after([], rows[0])[0][-1:], list(rows[0])

    def step(self, token_ids, state):
        return self.after(state, token_ids)

    def extend(self, token_ids, state, keep=1):
        return self.after(state, token_ids)

    def truncated(self, length, state):
        assert 0 <= length <= len(state)
        return state[:length]

    def without_row(self, row, state):
        return state

    def after(self, state, token_ids):
        self.runs += 1
        assert len(state) + len(token_ids) < self.limit
        logits = np.zeros((len(token_ids), len(LETTERS)), np.float32)
        for i in range(len(token_ids)):
            seen = [*state, *token_ids[: i + 1]]
            wrong = seen != self.text[: len(seen)]
            place = len(seen)
            logits[i, 5 if wrong else self.text[place] if place < len(self.text) else END] = 1
        return logits, [*state, *token_ids]


def ids_of(text):
    return [LETTERS.index(x) for x in text]


def written(text, prompt, most=100, lookup=10, ngram=3):
    """The generation behind the first `prompt` letters of `text`, and the runs that it took."""
    decoder = Script(ids_of(text), prompt + most)
    plain = {"max_new_tokens": most, "min_new_tokens": 0, "temperature": 0.0, "top_k": None, "top_p": None}
    options = Resolved(**plain, seed=0, stop=(), prompt_lookup_num_tokens=lookup, max_matching_ngram_size=ngram)
    request = Request(np.array(ids_of(text[:prompt])), None, options)
    chunks = [x for _, x in speculative_chunks(decoder, Letters(), [END], [request], 0.0)]
    return generation_from(chunks), decoder.runs


def test_a_draft_is_what_followed_the_longest_end_of_the_text():
    lookup = Lookup(ids_of("abcxabdyab"), 3)
    assert lookup.draft(3) == ids_of("dya"), "of equal n-grams the last counts"
    assert Lookup(ids_of("cabxdabyzab"), 1).draft(2) == ids_of("yz")
    assert Lookup(ids_of("xabcdyabcezbc"), 3).draft(1) == ids_of("e")
    assert Lookup(ids_of("xabcdyebcfxabc"), 3).draft(2) == ids_of("dy"), "three tokens that match say more than two"


def test_where_nothing_repeats_nothing_is_drafted():
    assert Lookup(ids_of("abcdefgh"), 3).draft(5) == []
    assert Lookup([], 3).draft(5) == []
    assert Lookup(ids_of("aab"), 3).draft(5) == []


def test_a_draft_that_is_right_goes_on_where_it_came_from():
    lookup = Lookup(ids_of("abcdefgxbcdezab"), 2)
    assert lookup.draft(2) == ids_of("cd")
    for token in ids_of("cde"):
        lookup.push(token)
    assert lookup.draft(2) == ids_of("fg"), "'de' was last followed by z, but the draft came from elsewhere"
    lookup.push(LETTERS.index("z"))
    assert lookup.draft(2) == ids_of("ab")


def test_a_lookup_finds_what_a_search_of_the_whole_text_finds():
    rng = random.Random(0)
    for _ in range(300):
        ids = [rng.randrange(4) for _ in range(rng.randrange(1, 30))]
        found = []
        for size in range(min(3, len(ids)), 0, -1):
            places = [i for i in range(len(ids) - size) if ids[i : i + size] == ids[-size:]]
            if places:
                found = ids[places[-1] + size :][:4]
                break
        assert Lookup(ids, 3).draft(4) == found


def test_the_pace_grows_while_drafts_are_right_and_falls_when_they_are_not():
    pace = Pace(8)
    pace.learn(8, 2)
    assert pace.next_count() == 3
    pace.learn(3, 3)
    assert pace.next_count() == 6
    pace.learn(6, 6)
    assert pace.next_count() == 8


def test_after_drafts_that_failed_comes_a_pause_that_grows():
    pace, pauses = Pace(8), []
    for _ in range(8):
        pause = 0
        while not (count := pace.next_count()):
            pause += 1
        pauses.append(pause)
        pace.learn(count, 0)
    assert pauses == [0, 1, 2, 4, 8, 16, LONGEST_PAUSE, LONGEST_PAUSE]
    while not pace.next_count():
        pass
    pace.learn(1, 1)
    assert pace.next_count() > 0


def test_a_text_that_repeats_takes_few_runs():
    result, runs = written("abcdefghijklm" * 4, 13 + 3)
    assert (result.text, result.finish_reason) == (("abcdefghijklm" * 4)[16:], "eos")
    assert runs <= 6 < len(result.token_ids)


def test_a_text_that_does_not_repeat_takes_a_run_a_token():
    result, runs = written("abcdefghijklmnop", 2)
    assert result.text == "cdefghijklmnop" and runs == 15


@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_drafted_the_text_is_the_same(seed):
    rng = random.Random(seed)
    text = ""
    while len(text) < 80:  # pieces of what was there, with letters between
        at = rng.randrange(len(text) + 1)
        text += text[at : at + rng.randrange(12)] + rng.choice("abcdefg")
    prompt, most = rng.randrange(1, 40), rng.randrange(1, 60)
    result, runs = written(text, prompt, most, lookup=rng.randrange(1, 12), ngram=rng.randrange(1, 5))
    assert result.text == text[prompt : prompt + most]
    assert result.finish_reason == ("length" if prompt + most <= len(text) else "eos")
    assert runs <= len(result.token_ids) + 1


def test_a_bundle_writes_the_same_with_drafts_and_without(decoder):
    rng = np.random.default_rng(0)
    size = decoder.manifest.graph.vocab_size
    text = rng.integers(size // 4, size // 2, 12).tolist() * 2
    for adapter in decoder.adapters:
        for options in ({}, {"temperature": 0.7, "seed": 3}, {"min_new_tokens": 30}, {"stop": ["t", "e"]}):
            options = {"adapter": adapter, "max_new_tokens": 60, **options}
            plain = decoder.generate(text, **options)
            drafted = decoder.generate(text, prompt_lookup_num_tokens=True, **options)
            assert (drafted.token_ids, drafted.text, drafted.finish_reason) == (
                plain.token_ids, plain.text, plain.finish_reason,
            )  # fmt: skip


WORDS = "once upon a time the sun was warm and what is the weather like to be so happy in the rain"
ENDS = ({}, {"stop": ["the", "a"]}, {"stop": "e", "temperature": 0.8, "seed": 5}, {"min_new_tokens": 9, "stop": ["x"]})
SHAPES = (
    {}, {"repetition_penalty": 1.2}, {"presence_penalty": 0.7, "frequency_penalty": 0.4}, {"logprobs": 2},
    {"regex": "[a-z ]{5,60}"}, {"choices": ["once upon a time", "once upon a town", "never"]},
)  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=lambda x: next(iter(x), "plain"))
def test_over_random_texts_that_repeat_themselves_drafts_change_nothing(decoder, shape):
    rng = random.Random(0)
    words = WORDS.split()
    adapters = [*decoder.adapters, *([] if decoder.manifest.standalone else [None])]
    for _ in range(12):
        piece = [rng.choice(words) for _ in range(rng.randrange(2, 6))]
        text = " ".join(piece * rng.randrange(1, 4) + piece[: rng.randrange(len(piece))])
        options = {"adapter": rng.choice(adapters), "max_new_tokens": rng.randrange(9, 40), **rng.choice(ENDS), **shape}
        if {"regex", "choices"} & set(shape):
            options.pop("min_new_tokens", None)
        sizes = {
            "prompt_lookup_num_tokens": rng.choice([True, 1, 3, 12]),
            "max_matching_ngram_size": rng.choice([1, 2, 3]),
        }
        plain, drafted = decoder.generate(text, **options), decoder.generate(text, **options, **sizes)
        assert (drafted.token_ids, drafted.text, drafted.finish_reason) == (
            plain.token_ids, plain.text, plain.finish_reason,
        ), (text, options, sizes)  # fmt: skip
        for a, b in zip(plain.logprobs or [], drafted.logprobs or [], strict=True):
            assert (a.token_id, list(a.top)) == (b.token_id, list(b.top)) and abs(a.logprob - b.logprob) < 1e-4


@pytest.mark.parametrize("other", [{"n": 2}, {"num_beams": 2}], ids=["results", "beams"])
def test_what_drafts_do_not_go_with_is_refused(decoder, other):
    with pytest.raises(OptionError, match="prompt_lookup_num_tokens"):
        decoder.generate("once upon", prompt_lookup_num_tokens=4, **other)


def test_an_ensemble_is_refused_drafts(loaded):
    model = loaded(GOLDEN / "decoder-shared")
    with pytest.raises(OptionError, match="prompt_lookup_num_tokens"):
        model.generate("once upon", prompt_lookup_num_tokens=4, ensemble=list(model.adapters)[:2])


def test_texts_of_a_list_are_each_written_as_alone(decoder):
    texts = ["once upon a time", "what is the weather", "I am so happy"]
    options = {"max_new_tokens": 24, "temperature": 0.9, "seed": 2}
    plain = decoder.generate(texts, **options)
    drafted = decoder.generate(texts, prompt_lookup_num_tokens=4, max_matching_ngram_size=2, **options)
    assert [x.token_ids for x in drafted] == [x.token_ids for x in plain]


def test_the_runs_of_a_bundle_are_fewer_where_its_text_loops(decoder, monkeypatch):
    engine, runs = decoder.decoder, []
    for name in ("step", "extend"):
        inner = getattr(engine, name)
        monkeypatch.setattr(engine, name, lambda *a, inner=inner, name=name: runs.append(name) or inner(*a))
    found = decoder.generate("once upon", max_new_tokens=90, min_new_tokens=90, prompt_lookup_num_tokens=10)
    ids = found.token_ids
    assert len(runs) < 89, f"the text does not repeat itself: {ids}"
    assert found.token_ids == decoder.generate("once upon", max_new_tokens=90, min_new_tokens=90).token_ids


def test_drafts_and_no_drafts_take_the_same_chunks_from_a_script():
    text = ids_of("abcabcabdabc")
    plain = {"max_new_tokens": 9, "min_new_tokens": 0, "temperature": 0.0, "top_k": None, "top_p": None}
    request = Request(np.array(text[:4]), None, Resolved(**plain, seed=0, stop=("bd",), prompt_lookup_num_tokens=5))
    found = []
    for chunks_of in (partial(generated_chunks, groups=[range(1)]), speculative_chunks):
        chunks = [x for _, x in chunks_of(Script(text, 20), Letters(), [END], [request], 0.0)]
        found.append([(x.text, x.token_ids, x.finish_reason) for x in chunks])
    assert found[0] == found[1] and found[0][-1][2] == "stop"


@pytest.mark.parametrize("wrong", [{"prompt_lookup_num_tokens": -1}, {"max_matching_ngram_size": 0}])
def test_options_out_of_their_range_are_refused(decoder, wrong):
    with pytest.raises(OptionError, match=next(iter(wrong))):
        decoder.generate("a", **wrong)
