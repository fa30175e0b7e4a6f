"""Long texts by windows: every token is read, and the answer is what the windows, read one by one, give together."""

import itertools
import json
import shutil

import edgetune_runtime
import numpy as np
import pytest
from edgetune_runtime import ContextLengthError, InputError, OptionError
from edgetune_runtime.encoder import EncoderRow, probabilities_of
from edgetune_runtime.tagging import TaggedRow, tagging_from
from edgetune_runtime.texts import Texts
from edgetune_runtime.windows import (
    Windows,
    filled_windows,
    joined_logits,
    text_windows,
    window_places,
    windows_of,
)
from edgetune_runtime.words import words_of
from hypothesis import given
from hypothesis import strategies as st

from .conftest import GOLDEN

LONG = " ".join(["I am so happy to see you! will it rain in the city today?", "this film was not good"] * 6)
LIMIT = 24


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """The golden encoder, with a manifest that leaves 24 positions to virtual tokens and text."""
    folder = shutil.copytree(GOLDEN / "encoder-shared", tmp_path_factory.mktemp("short") / "bundle")
    manifest = json.loads((folder / "bundle.json").read_text("utf-8"))
    manifest["graph"]["max_positions"] = LIMIT
    (folder / "bundle.json").write_text(json.dumps(manifest), "utf-8")
    return edgetune_runtime.load(folder, threads=1)


@given(length=st.integers(0, 400), width=st.integers(1, 60), shared=st.integers(0, 59))
def test_windows_cover_every_token_with_the_overlap_that_was_asked_for(length, width, shared):
    shared = min(shared, width - 1)
    places = window_places(length, width, shared, "the text")
    assert places[0][0] == 0 and places[-1][1] == length
    assert {end - start for start, end in places} == ({width} if length > width else {length})
    for (_, end), (start, _) in itertools.pairwise(places):
        assert end - start >= shared
    most = length if length <= width else shared + (len(places) - 1) * (width - shared)
    assert len(places) == 1 or most < length, "one window less would not reach the end"


def test_a_window_and_a_stride_have_room():
    with pytest.raises(ContextLengthError, match="the text"):
        window_places(5, 0, None, "the text")
    with pytest.raises(OptionError, match="stride: is 4"):
        window_places(9, 4, 4, "the text")
    assert window_places(9, 1, None, "the text") == [(i, i + 1) for i in range(9)]


def test_every_window_has_the_special_tokens_and_together_they_have_the_text(short):
    tokenizer = short.tokenizer
    ids = tokenizer.encode(LONG)
    found = text_windows(tokenizer, LONG, 20, 6, "the text")
    places = window_places(len(ids) - 2, 18, 6, "the text")
    assert found == [[ids[0], *ids[1 + a : 1 + b], ids[-1]] for a, b in places]
    assert text_windows(tokenizer, LONG, None, None, "the text") == [ids]


def test_of_a_pair_the_longer_moves_whichever_it_is(short):
    tokenizer, side = short.tokenizer, "was it good?"
    a, b = (tokenizer.encode(x, add_special_tokens=False) for x in (LONG, side))
    first, last = tokenizer.encode("")
    room = len(b) + 3 + 10
    places = window_places(len(a), 10, 2, "the text")
    assert text_windows(tokenizer, (LONG, side), room, 2, "x") == [[first, *a[s:e], last, *b, last] for s, e in places]
    assert text_windows(tokenizer, (side, LONG), room, 2, "x") == [[first, *b, last, *a[s:e], last] for s, e in places]


def test_the_template_is_around_every_window_and_no_word_is_lost(short):
    tokenizer = short.tokenizer
    names = {tokenizer.token(i) for i in range(short.manifest.graph.vocab_size)}
    words = [x for x in sorted(names) if x.isalpha() and len(tokenizer.encode(x, add_special_tokens=False)) == 1]
    ids = tokenizer.encode(" ".join(words), add_special_tokens=False)
    assert len(ids) == len(words) > 40
    front, back = tokenizer.encode("today")[:-1], tokenizer.encode("is good")[1:]
    room = len(front) + len(back) + 9
    found = filled_windows(tokenizer, "today {text} is {text_pair}", (" ".join(words), "good"), "", room, 4, "x")
    assert found == [front + ids[a:b] + back for a, b in window_places(len(ids), 9, 4, "x")]
    assert filled_windows(tokenizer, "today {text}", "good", "", 20, 4, "x") == [tokenizer.encode("today good")]
    with pytest.raises(ContextLengthError):
        filled_windows(tokenizer, "today {text}", LONG, "", 3, None, "x")


def test_pieces_that_begin_within_a_word_still_fit(short):
    tokenizer = short.tokenizer
    for room in range(6, 16):
        found = filled_windows(tokenizer, "today {text}", LONG, "", room, 1, "x")
        assert max(map(len, found)) <= room
        assert {x for ids in found for x in ids} >= set(tokenizer.encode("rain", add_special_tokens=False))


@pytest.mark.parametrize("how", ["mean", "max"])
def test_a_long_text_has_the_joint_probabilities_of_its_windows(short, how):
    for name, info in short.adapters.items():
        room = LIMIT - info.virtual_tokens
        rows = text_windows(short.tokenizer, LONG, room, 3, "x")
        assert len(rows) > 3
        each = np.stack([probabilities_of(x) for x in short.class_logits(rows, name)])
        expected = each.mean(0) if how == "mean" else each.max(0) / each.max(0).sum()
        found = short.classify(LONG, adapter=name, windows=how, stride=3)
        np.testing.assert_allclose([found.scores[x] for x in info.labels], expected, atol=1e-5)
        assert found.label == info.labels[expected.argmax()]


def test_long_and_short_texts_of_different_tasks_share_a_call(short):
    names = list(short.adapters)
    texts, adapters = [LONG, "so happy", ("a film", LONG)] * 2, [names[i % len(names)] for i in range(6)]
    found = short.classify(texts, adapter=adapters, windows=True)
    for text, name, answer in zip(texts, adapters, found):
        alone = short.classify(text, adapter=name, windows="mean")
        assert answer.scores == pytest.approx(alone.scores, abs=1e-5)
    assert short.classify("so happy", windows="max").scores == pytest.approx(
        short.classify("so happy").scores, abs=1e-6
    )


def test_members_of_an_ensemble_have_windows_of_their_own(short):
    names = [
        x
        for x in short.adapters
        if set(short.adapters[x].labels) == set(short.adapters[next(iter(short.adapters))].labels)
    ]
    found = short.classify(LONG, ensemble=names, windows="mean")
    each = [short.classify(LONG, adapter=x, windows="mean").scores for x in names]
    for label in found.scores:
        assert found.scores[label] == pytest.approx(np.mean([x[label] for x in each]), abs=1e-5)


def test_what_windows_cannot_be_is_refused(short):
    for wrong in ("first", 1.5, 7):
        with pytest.raises(OptionError, match="windows"):
            short.classify(LONG, windows=wrong)
    for wrong in (-1, 2.0, True):
        with pytest.raises(OptionError, match="stride"):
            short.classify(LONG, windows="mean", stride=wrong)
    with pytest.raises(OptionError, match="stride: is for windows"):
        short.classify(LONG, stride=2)
    with pytest.raises(OptionError, match="stride: is 23"):
        short.classify(LONG, windows="mean", stride=23)
    ids = short.tokenizer.encode(LONG)
    with pytest.raises(InputError, match="text 1: windows are for strings"):
        short.classify([[5, 6], ids], windows="mean")
    assert short.classify([5, 6], windows="mean") == short.classify([5, 6])


def test_probabilities_that_are_zero_stay_zero():
    sure = np.array([0.0, -2000.0], np.float32)
    np.testing.assert_allclose(probabilities_of(joined_logits([sure, sure], "mean")), [1, 0])
    assert joined_logits([sure], "max") is sure


def test_a_word_has_its_tag_from_the_window_in_which_it_stands_furthest_from_the_edge(short):
    name, head = next(iter(short.adapters)), short.adapter_named(next(iter(short.adapters)))
    texts, words = Texts(short.manifest, short.tokenizer), words_of(LONG, "punctuation")
    room = LIMIT - short.adapters[name].virtual_tokens
    row = texts.tagged_row(words, head, "the text", Windows(stride=6))
    ids = short.tokenizer.encode(words.spaced.text)
    places = window_places(len(ids) - 2, room - 2, 6, "the text")
    assert [list(x.token_ids) for x in row.rows] == [[ids[0], *ids[1 + a : 1 + b], ids[-1]] for a, b in places]
    assert len(row.first) == len(words.words) and None not in row.first
    token = 0
    for place in row.first:
        window, inside = place
        token = next(i for i in range(token + 1, len(ids)) if places[window][0] + inside == i)
        assert row.rows[window].token_ids[inside] == ids[token]
        margins = [
            min(token - 1 - a if a else 10**6, b - token if b < len(ids) - 2 else 10**6)
            for a, b in places
            if a < token <= b
        ]
        a, b = places[window]
        assert min(token - 1 - a if a else 10**6, b - token if b < len(ids) - 2 else 10**6) == max(margins)


def test_tags_come_from_the_rows_that_words_point_to():
    words = words_of("one two three", "space")
    row = EncoderRow([0], None)  # type: ignore[arg-type]
    tagged = TaggedRow(words, [(0, 1), (1, 0), None], [row, row])
    logits = [np.array([[9.0, 0], [0, 9]]), np.array([[0.0, 9], [9, 0]])]
    assert tagging_from(tagged, logits, ("O", "X")).tags == ("X", "X", "O")


def test_a_text_that_fits_is_one_window():
    (window,) = windows_of([2, 7, 8, 3], 1, 3, 4, None, "x")
    assert window.token_ids == [2, 7, 8, 3] and (window.first, window.end, window.shift) == (1, 3, 0)


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.6, 0.9, 1.0])
def test_below_the_threshold_there_is_no_label(encoder, threshold):
    texts = ["so happy", "the weather in the city", "this film was not good"]
    for plain, found in zip(encoder.classify(texts), encoder.classify(texts, threshold=threshold)):
        assert (found.score, found.scores) == (plain.score, plain.scores)
        assert found.label == (plain.label if plain.score >= threshold else None)
    for wrong in (-0.1, 1.1, True, "0.5"):
        with pytest.raises(OptionError, match="threshold"):
            encoder.classify(texts, threshold=wrong)
