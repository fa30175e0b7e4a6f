"""Stop strings end a text wherever its pieces were cut."""

import itertools

import pytest
from edgetune_runtime.stopping import StopStrings, beginning_at_end


def joined(stop, pieces):
    """All text that goes out, and whether it stopped."""
    stops, text = StopStrings(stop), ""
    for piece in pieces:
        out, stopped = stops.push(piece)
        text += out
        if stopped:
            return text, True
    return text + stops.end(), False


def cuts(text):
    """All ways to cut a text into pieces."""
    for places in itertools.product([False, True], repeat=len(text) - 1):
        pieces = [text[0]]
        for letter, is_cut in zip(text[1:], places):
            if is_cut:
                pieces.append(letter)
            else:
                pieces[-1] += letter
        yield pieces


@pytest.mark.parametrize(
    ("stop", "text", "expected"),
    [
        (["END"], "some END x", ("some ", True)),
        (["aab"], "aaaab", ("aa", True)),
        (["\n\n", "Q:"], "a\nQ: b", ("a\n", True)),
        (["abab"], "abaabab", ("aba", True)),
        (["END"], "some EN", ("some EN", False)),
        (["x"], "x", ("", True)),
        (["é!"], "caffé?é!", ("caffé?", True)),
        ([], "abc", ("abc", False)),
    ],
)
def test_text_ends_before_the_stop_string_however_it_is_cut(stop, text, expected):
    for pieces in cuts(text):
        assert joined(stop, pieces) == expected


def test_only_what_may_begin_a_stop_string_is_held_back():
    stops = StopStrings(["<end>"])
    assert stops.push("one <") == ("one ", False)
    assert stops.push("b") == ("<b", False)
    assert stops.push(" <en") == (" ", False)
    assert stops.end() == "<en"
    assert stops.end() == ""


def test_the_first_of_several_stop_strings_counts():
    assert StopStrings(["b", "a"]).push("xxaxb") == ("xx", True)


def test_beginning_at_end_finds_the_longest():
    assert beginning_at_end("xaab", "aabaa") == 3
    assert beginning_at_end("aaa", "aaa") == 2
    assert beginning_at_end("", "a") == 0


@pytest.mark.parametrize("width", range(1, 12))
def test_of_two_that_overlap_the_one_that_is_whole_first_counts_however_the_text_is_cut(width):
    text, stops = "bcababcaabx", StopStrings(("abab", "ba"))
    out, stopped = "", False
    for start in range(0, len(text), width):
        piece, stopped = stops.push(text[start : start + width])
        out += piece
        if stopped:
            break
    assert (out, stopped) == ("bca", True)
