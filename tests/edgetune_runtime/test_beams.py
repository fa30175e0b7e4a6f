"""Beam search writes what transformers' own writes over the same logits."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from edgetune_runtime import OptionError
from edgetune_runtime.adapter_metadata import GenerationDefaults
from edgetune_runtime.beams import beam_chunks
from edgetune_runtime.options import options_from, resolved
from edgetune_runtime.progress import Request
from transformers import LlamaConfig, LlamaForCausalLM

V = 24
PROMPT = [5, 9, 2]


class Torch:
    """A decoder over a torch model: its state is the rows' tokens, all of which run anew each time."""

    def __init__(self, model):
        self.model = model

    def prefill(self, rows, adapters, reserve=0):
        return self.after([list(map(int, row)) for row in rows])

    def step(self, token_ids, state):
        return self.after([[*row, int(token)] for row, token in zip(state, token_ids)])

    def with_rows(self, rows, state):
        return [list(state[row]) for row in rows]

    @torch.no_grad()
    def after(self, state):
        return self.model(torch.tensor(state)).logits[:, -1].numpy().copy(), state


LETTERS = SimpleNamespace(decode=lambda ids: "".join(chr(97 + i) for i in ids))


def tiny(seed):
    torch.manual_seed(seed)
    config = LlamaConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, vocab_size=V,
        max_position_embeddings=64, initializer_range=0.6, bos_token_id=0, eos_token_id=1, pad_token_id=0,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def searched(model, end_ids=(1,), **options):
    request = Request(np.array(PROMPT), None, resolved(options_from(options), GenerationDefaults(), 0, 3, 64))
    found = [chunk for _, chunk in beam_chunks(Torch(model), LETTERS, list(end_ids), [request], 0.0)]
    return [list(chunk.token_ids) for chunk in found]


def expected(model, end_ids=(1,), n=1, **options):
    rows = model.generate(
        torch.tensor([PROMPT]), do_sample=False, num_return_sequences=n, eos_token_id=list(end_ids), **options
    )
    texts = [row[len(PROMPT) :].tolist() for row in rows]
    return [list(itertools.takewhile(lambda token: token not in end_ids, text)) for text in texts]


@pytest.mark.parametrize("early_stopping", [False, True, "never"])
@pytest.mark.parametrize("length_penalty", [-1.0, 0.0, 1.0, 2.0])
@pytest.mark.parametrize("num_beams", [2, 4])
def test_texts_are_those_of_transformers(num_beams, length_penalty, early_stopping):
    options = dict(num_beams=num_beams, length_penalty=length_penalty, early_stopping=early_stopping, max_new_tokens=12)
    for seed in range(6):
        model = tiny(seed)
        assert searched(model, n=2, **options) == expected(model, n=2, **options)


@pytest.mark.parametrize(
    "options", [{"repetition_penalty": 1.4}, {"min_new_tokens": 5}, {"num_beams": 5, "max_new_tokens": 1}]
)
def test_processors_run_on_log_probabilities(options):
    for seed in range(6):
        model = tiny(seed)
        given = {"num_beams": 3, "max_new_tokens": 10, **options}
        assert searched(model, **given) == expected(model, **given)


def test_several_end_tokens_widen_the_search():
    for seed in range(6):
        given = {"num_beams": 3, "max_new_tokens": 10, "n": 3}
        assert searched(tiny(seed), (1, 7, 8), **given) == expected(tiny(seed), (1, 7, 8), **given)


def test_enough_beams_find_the_most_probable_text_of_all():
    model, length = tiny(1), 2
    with torch.no_grad():
        best = max(
            (x for x in itertools.product(range(V), repeat=length) if 1 not in x),
            key=lambda x: sum(
                float(torch.log_softmax(model(torch.tensor([[*PROMPT, *x[:i]]])).logits[0, -1], -1)[x[i]])
                for i in range(length)
            ),
        )
    found = searched(model, num_beams=V, max_new_tokens=length, min_new_tokens=length)
    assert found == [list(best)]


def test_bundles_and_ensembles_search_over_copied_rows(loaded, decoder):
    greedy = decoder.generate("the sun", max_new_tokens=8, stop=[])
    first = decoder.generate("the sun", num_beams=4, n=4, max_new_tokens=8, stop=[])
    texts = [first, *first.others]
    assert len({tuple(x.token_ids) for x in texts}) == 4

    def total(found):
        end = found.finish_reason == "eos"
        ids = [*found.token_ids, *([decoder.eos_token_ids[0]] if end else [])]
        rows = decoder.completion_logits(decoder.tokenizer.encode("the sun"), ids).astype(np.float64)
        of_all = (
            rows - np.log(np.exp(rows - rows.max(1, keepdims=True)).sum(1, keepdims=True)) - rows.max(1, keepdims=True)
        )
        return sum(of_all[i, token] for i, token in enumerate(ids)) / len(ids)

    scores = [total(x) for x in texts]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] >= total(greedy) - 1e-4


def test_beams_follow_a_grammar(decoder):
    first = decoder.generate("a", regex="(ab|cd){2}", num_beams=3, n=3)
    assert {x.text for x in (first, *first.others)} < {"abab", "abcd", "cdab", "cdcd"}
    assert {x.finish_reason for x in (first, *first.others)} == {"eos"}


def test_a_cancelled_search_returns_its_best_beam(decoder):
    asked = iter([False, False, False, True])
    cancel = SimpleNamespace(is_set=lambda: next(asked))
    found = decoder.generate("a", num_beams=3, cancel=cancel, min_new_tokens=20, max_new_tokens=20, stop=[])
    assert (len(found.token_ids), found.finish_reason) == (3, "cancelled")


@pytest.mark.parametrize(
    "options", [{"temperature": 1.0}, {"top_k": 3}, {"logprobs": 1}, {"prompt_lookup_num_tokens": 3}, {"n": 5}]
)
def test_what_beams_do_not_go_with_is_named(decoder, options):
    with pytest.raises(OptionError, match=next(iter(options))):
        decoder.generate("a", num_beams=4, **options)
