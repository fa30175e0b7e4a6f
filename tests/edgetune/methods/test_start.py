"""What virtual tokens start from, and what a network around them changes."""

import pytest
import torch

from edgetune.adapter import adapter_from, tuned_from
from edgetune.config import TrainConfig
from edgetune.errors import ConfigError, UnsupportedModelError
from edgetune.methods.start import starting_soft
from edgetune.methods.tuned import Tuned
from edgetune.models.forward import full_mask, hidden_states, logits_at

from ..tiny import base_of, eager


def start_of(base, seed=0, labels=(), **options):
    return starting_soft(base, TrainConfig(**options), labels, torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def decoder():
    return base_of("llama")


def next_token_logits(base, ids, virtual):
    ids = torch.tensor([ids])
    mask = torch.ones_like(ids)
    return logits_at(base, ids, full_mask(mask, virtual), mask.bool(), virtual)


@pytest.mark.parametrize("method", ["prompt", "prefix"])
def test_start_from_a_text_equals_prompting_with_that_text(decoder, method):
    soft = start_of(decoder, method=method, virtual_tokens=3, init="text", init_text="w7 w9 w11")
    front = decoder.tokenizer("w7 w9 w11", add_special_tokens=False).input_ids
    text = [20, 21, 22, 23]
    expected = decoder.model(torch.tensor([front + text])).logits[0, 3:]
    torch.testing.assert_close(next_token_logits(decoder, text, soft.virtual()), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", ["prompt", "prefix"])
@pytest.mark.parametrize("family", ["gpt2", "gemma3", "opt"])
@torch.no_grad()
def test_the_same_of_learned_positions_and_of_sliding_windows(base, method, family):
    decoder, words = base(family), "w7 w9 w11"
    soft = start_of(decoder, method=method, virtual_tokens=3, init="text", init_text=words)
    front, text = decoder.tokenizer(words, add_special_tokens=False).input_ids, [20, 21, 22, 23]
    expected = eager(decoder)(torch.tensor([front + text])).logits[0, 3:]
    torch.testing.assert_close(next_token_logits(decoder, text, soft.virtual()), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
@torch.no_grad()
def test_an_encoders_prefix_from_a_text_equals_that_text_which_does_not_see_what_follows(base, family):
    """Its keys are made once, before any text is known: plain attention in which the front attends to itself alone."""
    encoder, words = base(family), "w7 w9 w11"
    soft = start_of(encoder, method="prefix", virtual_tokens=3, init="text", init_text=words)
    front, text = encoder.tokenizer(words, add_special_tokens=False).input_ids, [20, 21, 22, 23]
    ids, mask = torch.tensor([text]), torch.ones(1, 4, dtype=torch.int64)
    got = hidden_states(encoder, ids, full_mask(mask, soft.virtual()), soft.virtual())
    seen = torch.zeros(1, 1, 7, 7)
    seen[..., :3, 3:] = torch.finfo(torch.float32).min
    model = eager(encoder)
    expected = model(torch.tensor([front + text]), attention_mask=seen).last_hidden_state[:, 3:]
    torch.testing.assert_close(got, expected, rtol=0, atol=2e-5)


@torch.no_grad()
def test_an_encoders_prompt_from_a_text_equals_that_text_in_front(base):
    bert, words = base("bert"), "w7 w9 w11"
    soft = start_of(bert, method="prompt", virtual_tokens=3, init="text", init_text=words)
    front, text = bert.tokenizer(words, add_special_tokens=False).input_ids, [20, 21, 22, 23]
    ids, mask = torch.tensor([text]), torch.ones(1, 4, dtype=torch.int64)
    got = hidden_states(bert, ids, full_mask(mask, soft.virtual()), soft.virtual())
    expected = eager(bert)(torch.tensor([front + text])).last_hidden_state[:, 3:]
    torch.testing.assert_close(got, expected, rtol=0, atol=2e-5)


def test_a_short_text_is_repeated_and_a_long_one_cut(decoder):
    table = decoder.embeddings.weight
    front = decoder.tokenizer("w7 w9", add_special_tokens=False).input_ids
    long = start_of(decoder, method="prompt", virtual_tokens=5, init="text", init_text="w7 w9").embeds
    assert torch.equal(long, table[[*front, *front, front[0]]])
    short = start_of(decoder, method="prompt", virtual_tokens=1, init="text", init_text="w7 w9").embeds
    assert torch.equal(short, table[front[:1]])


def test_start_from_labels_takes_their_words_in_order():
    base = base_of("bert")
    soft = start_of(base, labels=("w3_w4", "w5"), method="prompt", virtual_tokens=3, init="labels")
    words = base.tokenizer("w3 w4 w5", add_special_tokens=False).input_ids
    assert torch.equal(soft.embeds, base.embeddings.weight[words])


def test_random_start_has_the_vocabulary_s_mean_and_deviation(decoder):
    soft = start_of(decoder, method="prompt", virtual_tokens=4000, init="random")
    table = decoder.embeddings.weight
    torch.testing.assert_close(soft.embeds.mean(0), table.mean(0), rtol=0, atol=0.02)
    torch.testing.assert_close(soft.embeds.std(0), table.std(0, unbiased=False), rtol=0.1, atol=0)


def test_sampled_start_takes_words_of_the_vocabulary_and_no_special_token(decoder):
    count = decoder.vocab_size - len(decoder.tokenizer.all_special_ids)
    soft = start_of(decoder, method="prompt", virtual_tokens=count)
    special = decoder.embeddings.weight[decoder.tokenizer.all_special_ids]
    assert len(torch.unique(soft.embeds, dim=0)) == count
    assert torch.cdist(soft.embeds, special).min() > 0


@pytest.mark.parametrize("init", ["vocab", "random"])
@pytest.mark.parametrize("method", ["prompt", "prefix"])
def test_the_seed_decides(decoder, method, init):
    first, same, other = (
        [p for p in start_of(decoder, seed, method=method, init=init).parameters()] for seed in (0, 0, 1)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, same))
    assert not any(torch.equal(a, b) for a, b in zip(first, other))


def test_a_prompt_is_refused_where_every_layer_reads_the_ids_again():
    base = base_of("gemma4")
    with pytest.raises(UnsupportedModelError, match="--method prefix"):
        start_of(base, method="prompt")
    assert len(start_of(base, method="prefix").keys) == len(base.layers)


@pytest.mark.parametrize("options, message", [
    (dict(init="text"), "--init-text"),
    (dict(init="text", init_text="   "), "no tokens"),
    (dict(init="labels"), "needs a task with labels"),
    (dict(method="prefix", reparameterise="lstm"), "prompt"),
])  # fmt: skip
def test_a_start_that_cannot_be_is_refused(decoder, options, message):
    with pytest.raises(ConfigError, match=message):
        start_of(decoder, **options)


@pytest.mark.parametrize("method, network", [("prompt", "mlp"), ("prefix", "mlp"), ("prompt", "lstm")])
def test_a_network_starts_from_the_values_it_was_given_and_is_folded_away(decoder, method, network):
    plain = start_of(decoder, method=method, virtual_tokens=4)
    around = start_of(decoder, method=method, virtual_tokens=4, reparameterise=network, reparameterise_size=8)
    text = [20, 21, 22]
    expected = next_token_logits(decoder, text, plain.virtual())
    torch.testing.assert_close(next_token_logits(decoder, text, around.virtual()), expected)
    for parameter in around.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.5)
    adapter = adapter_from(Tuned(decoder, around), task="generate", method=method)
    names = (
        {"prompt_embeds"}
        if method == "prompt"
        else {f"past_key_values.{i}.{x}" for i in (0, 1) for x in ("key", "value")}
    )
    assert set(adapter.tensors) == names
    moved = next_token_logits(decoder, text, around.virtual())
    assert (moved - expected).abs().max() > 0.01
    folded = tuned_from(decoder, adapter).virtual()
    torch.testing.assert_close(next_token_logits(decoder, text, folded), moved)


def test_every_part_of_a_network_learns(decoder):
    around = start_of(decoder, method="prompt", virtual_tokens=4, reparameterise="lstm", reparameterise_size=8)
    torch.nn.init.normal_(around.outer.weight)
    next_token_logits(decoder, [20, 21], around.virtual()).square().sum().backward()
    learned = {name: p.grad for name, p in around.named_parameters() if p.requires_grad}
    assert learned.keys() >= {"seeds", "inner.weight", "outer.weight", "lstm.weight_ih_l0"}
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in learned.values())
    assert around.start.embeds.grad is None
