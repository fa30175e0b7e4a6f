"""Prompts after the text, prompts with prefixes and prefixes by layer do in training what a plain forward does."""

import pytest
import torch
from transformers import DynamicCache

from edgetune.adapter import adapter_from, tuned_from
from edgetune.config import TrainConfig
from edgetune.methods.head import LinearHead
from edgetune.methods.start import starting_soft
from edgetune.methods.tuned import Tuned
from edgetune.models.suffix import suffix_ids, with_suffix
from edgetune.models.virtual import longest
from edgetune.training.batches import batch_of
from edgetune.training.examples import Example, behind_prompt
from edgetune.training.objective import completion_loss, loss

from ..tiny import SEP, eager, ids_of
from ..tiny import batch_of as rows_batch

OPTIONS = {
    "after": dict(method="prompt", prompt_position="after"),
    "both": dict(method="prompt", prompt_position="both"),
    "joined": dict(method="prompt+prefix"),
    "joined-both": dict(method="prompt+prefix", prompt_position="both", prefix_lengths="2,5"),
    "last": dict(method="prefix", prefix_layers="last:1"),
    "lengths": dict(method="prefix", prefix_lengths="6,2"),
    "shared": dict(method="prefix", prefix_share="kv"),
}


def tuned_of(base, name, classes=0, **more):
    config = TrainConfig(virtual_tokens=3, **{**OPTIONS[name], **more})
    soft = starting_soft(base, config, (), torch.Generator().manual_seed(0))
    head = LinearHead(base.hidden_size, classes) if classes else None
    if head:
        torch.nn.init.normal_(head.weight, generator=torch.Generator().manual_seed(1))
    return Tuned(base, soft, head)


@pytest.mark.parametrize("position", ["after", "both"])
@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "modernbert", "albert"])
@torch.no_grad()
def test_a_prompt_after_the_text_is_vectors_behind_its_embeddings(base, family, position):
    """Plain transformers over embeddings joined by hand, row by row; the mean is that of the text's positions."""
    encoder = base(family)
    tuned, rows, model = tuned_of(encoder, position, classes=2), ids_of(7, 2, 5), eager(encoder)
    rows[0][3] = SEP  # the second text of a pair has another type, a virtual token never
    virtual = tuned.virtual()
    front, behind = virtual.prompt_length, virtual.suffix_length
    assert (front, behind) == ((0, 3) if position == "after" else (2, 1))
    for row, got in zip(rows, tuned.class_logits(*rows_batch(rows))):
        text = model.get_input_embeddings()(row[None])
        parts = [x for x in (virtual.prompt, text, virtual.suffix) if x is not None]
        inputs = {"inputs_embeds": torch.cat(parts, dim=1)}
        if encoder.takes_token_types:
            types = torch.cumsum(row == SEP, 0) - (row == SEP).long() if encoder.separator is not None else row * 0
            inputs["token_type_ids"] = torch.nn.functional.pad((types > 0).long(), (front, behind))[None]
        hidden = model(**inputs).last_hidden_state[:, front : front + len(row)]
        torch.testing.assert_close(got, tuned.head(hidden.mean(1))[0], rtol=0, atol=2e-5)


@pytest.mark.parametrize("position", ["after", "both"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3", "opt"])
@torch.no_grad()
def test_a_generators_prompt_stands_between_prompt_and_completion(base, family, position):
    """The loss is on the completions, each behind its prompt and its virtual tokens, whatever the batch."""
    decoder = base(family)
    tuned, model, total, count = tuned_of(decoder, position), eager(decoder), 0.0, 0
    virtual, rows = tuned.virtual(), list(zip(ids_of(9, 2, 5), ids_of(4, 6, 1, seed=1)))
    table = model.get_input_embeddings()
    for prompt, completion in rows:
        parts = [virtual.prompt, table(prompt[None]), virtual.suffix, table(completion[None])]
        logits = model(inputs_embeds=torch.cat([x for x in parts if x is not None], dim=1)).logits[0]
        scores = logits[-len(completion) - 1 : -1].log_softmax(-1)
        total -= scores[range(len(completion)), completion].sum().item()
        count += len(completion)
    ids = suffix_ids(virtual.suffix_length, decoder.vocab_size)
    examples = [
        behind_prompt(Example([*p.tolist(), *c.tolist()], completion=(False,) * len(p) + (True,) * len(c)), ids)
        for p, c in rows
    ]
    batch = batch_of(examples, decoder.pad_token_id)
    assert batch.losses == count
    assert completion_loss(tuned, batch).item() == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3"])
@torch.no_grad()
def test_with_a_prefix_the_prompt_comes_second_and_the_text_third(base, family):
    decoder = base(family)
    tuned, model, (row,) = tuned_of(decoder, "joined"), eager(decoder), ids_of(9)
    virtual, cache = tuned.virtual(), DynamicCache()
    for i, layer in enumerate(virtual.prefix):
        cache.update(*layer, i)
    embeds = torch.cat([virtual.prompt, model.get_input_embeddings()(row[None])], dim=1)
    positions = 3 + torch.arange(embeds.shape[1])[None]
    expected = model(inputs_embeds=embeds, past_key_values=cache, position_ids=positions).logits[0, 3:]
    got = tuned.token_logits(row[None], torch.ones(1, 9, dtype=torch.int64), torch.ones(1, 9, dtype=torch.bool))
    torch.testing.assert_close(got, expected, rtol=0, atol=2e-5)


@torch.no_grad()
def test_a_layer_without_a_prefix_attends_as_the_base_does(base):
    """Only the last layer of two has one: the keys that the first leaves are those of the bare base."""
    bert, (row,) = base("bert"), ids_of(6)
    tuned = tuned_of(bert, "last", classes=2)
    assert [key.shape[2] for key, _ in tuned.virtual().prefix] == [0, 3]
    mask = torch.ones(1, 6, dtype=torch.int64)
    bare = Tuned(bert, None, tuned.head)
    assert (tuned.class_logits(row[None], mask) - bare.class_logits(row[None], mask)).abs().max() > 1e-3
    for key, value in zip(tuned.soft.keys, tuned.soft.values):
        key.data, value.data = key[:, :0], value[:, :0]
    torch.testing.assert_close(tuned.class_logits(row[None], mask), bare.class_logits(row[None], mask))


@pytest.mark.parametrize("name", OPTIONS)
def test_only_what_the_option_names_is_learned(base, name):
    bert = base("bert")
    tuned = tuned_of(bert, name, classes=2)
    batch = batch_of([Example(row.tolist(), label=i % 2) for i, row in enumerate(ids_of(5, 3))], bert.pad_token_id)
    loss(tuned, batch).backward()
    assert all(p.grad is None for p in bert.model.parameters())
    learned = {key: p for key, p in tuned.soft.named_parameters()}
    assert all(p.grad is not None and (p.grad != 0).any() for p in learned.values() if p.numel()), name
    size = 32
    of_layer = 2 * size  # K·D, keys and values
    expected = {
        "after": 3 * size, "both": 3 * size, "joined": 3 * size + 2 * 3 * of_layer,
        "joined-both": 3 * size + 7 * of_layer, "last": 3 * of_layer, "lengths": 8 * of_layer, "shared": 3 * of_layer,
    }  # fmt: skip
    assert sum(p.numel() for p in learned.values()) == expected[name]
    adapter = adapter_from(tuned, task="classify", method=OPTIONS[name]["method"], labels=("a", "b"))
    assert adapter.parameters == expected[name] + 2 * size + 2


@pytest.mark.parametrize("name", OPTIONS)
def test_a_network_around_any_option_starts_from_its_values_and_is_folded_away(base, name):
    bert, (ids, mask) = base("bert"), rows_batch(ids_of(6, 3))
    plain = tuned_of(bert, name, classes=2)
    around = tuned_of(bert, name, classes=2, reparameterise="mlp", reparameterise_size=8)
    torch.testing.assert_close(around.class_logits(ids, mask), plain.class_logits(ids, mask))
    for parameter in around.soft.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.5, generator=torch.Generator().manual_seed(2))
    moved = around.class_logits(ids, mask)
    assert (moved - plain.class_logits(ids, mask)).abs().max() > 0.01
    adapter = adapter_from(around, task="classify", method=OPTIONS[name]["method"], labels=("a", "b"))
    assert set(adapter.tensors) == set(
        adapter_from(plain, task="classify", method=OPTIONS[name]["method"], labels=("a", "b")).tensors
    )
    torch.testing.assert_close(tuned_from(bert, adapter).class_logits(ids, mask), moved)


def test_shared_keys_are_the_values_and_start_from_the_texts_values(base):
    shared, plain = (tuned_of(base("llama"), name) for name in ("shared", "lengths"))
    assert all(key is value for key, value in shared.virtual().prefix)
    unshared = starting_soft(
        base("llama"), TrainConfig(method="prefix", virtual_tokens=3), (), torch.Generator().manual_seed(0)
    )
    assert all(torch.equal(a, b) for a, b in zip(shared.soft.keys, unshared.values))
    assert longest(plain.virtual().prefix) == 6


def test_a_suffix_stands_right_behind_each_row_whatever_side_is_padded():
    ids = torch.tensor([[5, 6, 7], [8, 0, 0], [0, 0, 9]])
    mask = torch.tensor([[1, 1, 1], [1, 0, 0], [0, 0, 1]])
    wide, wide_mask = with_suffix(ids, mask, 2, 100)
    assert wide.tolist() == [[5, 6, 7, 100, 101], [8, 100, 101, 0, 0], [0, 0, 9, 100, 101]]
    assert wide_mask.tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 1, 1]]
