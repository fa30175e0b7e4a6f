"""The loop over a scripted decoder: how rows end, what goes out, and that rows do not touch one another."""

import numpy as np
import pytest
from edgetune_runtime.generation import MAX_ROWS, Request, generated_chunks, generation_from
from edgetune_runtime.options import Resolved

END = 0
LETTERS = ["", *"abcdefgh"]


class Letters:
    """Token i is the i-th letter; token 0 is the end."""

    def decode(self, token_ids):
        return "".join(LETTERS[i] for i in token_ids)


class Script:
    """A decoder whose row says the letters of its text one after another, then the end for ever.

    Its state is a list of what each row has yet to say; a step has to be fed what was said.
    """

    def prefill(self, rows, adapters, reserve=0):
        self.widths = [len(rows)]
        state = [list(ids) for ids in rows]
        return self.logits(state), state

    def step(self, token_ids, state):
        self.widths.append(len(state))
        for token, row in zip(token_ids, state):
            assert token == (row.pop(0) if row else token)
        return self.logits(state), state

    def without_row(self, row, state):
        state[row] = state[-1]
        return state[:-1]

    def logits(self, state):
        logits = np.zeros((len(state), len(LETTERS)), np.float32)
        for r, row in enumerate(state):
            logits[r, row[0] if row else END] = 9
            logits[r, 5] += 1  # the second best everywhere
        return logits


def options(**changes):
    plain = {"max_new_tokens": 20, "min_new_tokens": 0, "temperature": 0.0, "top_k": None, "top_p": None}
    return Resolved(**{**plain, "seed": 0, "stop": (), **changes})


def said(*texts, decoder=None, **changes):
    """Text, tokens and reason of every row."""
    requests = [Request(np.array([LETTERS.index(c) for c in text]), None, options(**changes)) for text in texts]
    chunks = [[] for _ in texts]
    groups = [range(i, min(i + MAX_ROWS, len(texts))) for i in range(0, len(texts), MAX_ROWS)]
    for row, chunk in generated_chunks(decoder or Script(), Letters(), [END], requests, 0.0, groups):
        chunks[row].append(chunk)
    assert all(chunk.finish_reason is None for row in chunks for chunk in row[:-1])
    results = [generation_from(x) for x in chunks]
    return [(x.text, x.token_ids, x.finish_reason) for x in results]


def test_an_end_token_ends_a_row_and_is_not_part_of_it():
    assert said("abc") == [("abc", [1, 2, 3], "eos")]


def test_the_most_tokens_end_a_row():
    assert said("abc", max_new_tokens=2) == [("ab", [1, 2], "length")]


def test_a_stop_string_ends_a_row_and_is_cut_off_its_text():
    assert said("abcde", stop=("cd",)) == [("ab", [1, 2, 3, 4], "stop")]


def test_a_stop_string_that_never_ends_is_part_of_the_text():
    assert said("abc", stop=("cd",)) == [("abc", [1, 2, 3], "eos")]
    assert said("abcd", stop=("cde",), max_new_tokens=4) == [("abcd", [1, 2, 3, 4], "length")]


def test_a_stop_string_at_the_most_tokens_is_a_stop():
    assert said("abcd", stop=("cd",), max_new_tokens=4) == [("ab", [1, 2, 3, 4], "stop")]


def test_before_the_fewest_tokens_no_end_is_chosen():
    assert said("a", min_new_tokens=3) == [("aee", [1, 5, 5], "eos")]


def test_rows_end_each_at_its_own_time():
    texts = ["abc", "a", "abcdefgh", "h", "", "ab"]
    decoder = Script()
    found = said(*(x or "a" for x in texts), decoder=decoder)
    assert [text for text, _, _ in found] == [x or "a" for x in texts]
    assert decoder.widths == sorted(decoder.widths, reverse=True), "rows that ended left the batch"
    assert decoder.widths[0] == 6 and decoder.widths[-1] == 1


def test_more_rows_than_a_batch_holds_run_in_groups():
    texts = ["abcdefgh"[: 1 + i % 8] for i in range(2 * MAX_ROWS + 3)]
    assert [text for text, _, _ in said(*texts)] == texts


@pytest.mark.parametrize("stop", [(), ("de",)])
def test_chunks_joined_are_the_whole(stop):
    request = Request(np.array([1, 2, 3, 4, 5]), None, options(stop=stop))
    chunks = [chunk for _, chunk in generated_chunks(Script(), Letters(), [END], [request], 0.0, [range(1)])]
    assert all(chunk.text for chunk in chunks[:-1])
    assert "".join(chunk.text for chunk in chunks) == ("abc" if stop else "abcde")
    assert [t for chunk in chunks for t in chunk.token_ids] == [1, 2, 3, 4, 5]


def test_timing_comes_with_the_last_chunk():
    request = Request(np.array([1, 2, 3]), None, options())
    *rest, last = [chunk for _, chunk in generated_chunks(Script(), Letters(), [END], [request], 0.0, [range(1)])]
    assert all(chunk.timing is None for chunk in rest)
    assert last.timing.first_token_ms > 0 and last.timing.tokens_per_second > 0
