"""A decoder that goes on from what it holds: the answers of one that begins anew, in fewer tokens."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
from edgetune_runtime.resumed import ResumedDecoder, common_length

VOCAB = 7


class Recall:
    """A decoder whose logits are a hash of all that it was given. It counts tokens; a state can be used once."""

    def __init__(self):
        self.tokens, self.fails = 0, False

    def prefill(self, rows, adapters, reserve=0):
        ids = list(rows[0]) + [VOCAB + i for i in range(adapters[0].suffix_tokens if adapters[0] else 0)]
        return self.after([], ids)

    def step(self, token_ids, state):
        return self.after(self.used(state), token_ids)

    def extend(self, token_ids, state, keep=1):
        return self.after(self.used(state), token_ids)

    def truncated(self, length, state):
        return self.used(state)[:length]

    def stored(self, state, adapter):
        return [np.array(state)]

    def restored(self, stored, length, adapter):
        assert len(stored[0]) == length
        return stored[0].tolist()

    def used(self, state):
        taken = list(state)
        state[:] = [-1]
        return taken

    def after(self, state, token_ids):
        if self.fails:
            raise MemoryError
        self.tokens += len(token_ids)
        state = [*state, *map(int, token_ids)]
        return self.logits_of(state), state

    @staticmethod
    def logits_of(ids):
        return np.random.default_rng(ids).random((1, VOCAB))


@pytest.mark.parametrize("suffix", [0, 2])
@pytest.mark.parametrize("seed", range(30))
def test_whatever_came_before_the_answer_is_that_of_the_whole_text(seed, suffix):
    rng = random.Random(seed)
    adapter = SimpleNamespace(suffix_tokens=suffix) if suffix else None
    inner = Recall()
    resumed, text, held = ResumedDecoder(inner, adapter, VOCAB), [0], []
    for _ in range(20):
        text = text[: rng.randrange(1, len(text) + 1)] + [rng.randrange(3) for _ in range(rng.randrange(4))]
        whole = [*text, *range(VOCAB, VOCAB + suffix)]
        shared = next((i for i, (a, b) in enumerate(zip(held, whole)) if a != b), min(len(held), len(whole)))
        before = inner.tokens
        logits, state = resumed.prefill([np.array(text)], [adapter])
        assert (logits == Recall.logits_of(whole)).all()
        assert inner.tokens - before == len(whole) - min(shared, len(whole) - 1)
        held = list(whole)
        for _ in range(rng.randrange(4)):
            written = [rng.randrange(3) for _ in range(rng.randrange(1, 3))]
            if len(written) == 1:
                logits, state = resumed.step(np.array(written), state)
            else:
                logits, state = resumed.extend(np.array(written), state)
                if rng.random() < 0.5:
                    state = resumed.truncated(len(held) + 1, state)
                    written = written[:1]
            held += written
        assert resumed.token_ids == held
        text = [x for x in held if x < VOCAB]


def test_a_run_that_fails_leaves_a_decoder_that_computes_the_whole_text():
    inner = Recall()
    resumed = ResumedDecoder(inner, None, VOCAB)
    _, state = resumed.prefill([np.array([1, 2, 3])], [None])
    inner.fails = True
    with pytest.raises(MemoryError):
        resumed.step(np.array([4]), state)
    assert resumed.token_ids == []
    inner.fails, inner.tokens = False, 0
    logits, _ = resumed.prefill([np.array([1, 2, 3, 4])], [None])
    assert (logits == Recall.logits_of([1, 2, 3, 4])).all() and inner.tokens == 4


def test_a_copy_goes_on_apart():
    inner = Recall()
    resumed = ResumedDecoder(inner, None, VOCAB)
    resumed.prefill([np.array([1, 2, 3])], [None])
    copy = resumed.copy()
    for one, text in ((resumed, [1, 2, 3, 4]), (copy, [1, 2, 5]), (resumed, [1, 2, 3, 4, 6]), (copy, [1, 2, 5, 0])):
        logits, _ = one.prefill([np.array(text)], [None])
        assert (logits == Recall.logits_of(text)).all()
    assert ResumedDecoder(inner, None, VOCAB).copy().token_ids == []


def test_a_common_beginning_ends_where_either_does():
    assert common_length([1, 2, 3], [1, 2, 4, 5]) == 2
    assert common_length([1, 2], [1, 2, 4]) == common_length([1, 2, 4], [1, 2]) == 2
    assert common_length([], [1]) == common_length([2], [1]) == 0
