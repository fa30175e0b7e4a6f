"""Heads by hand, and what they read of a padded batch."""

import math

import pytest
import torch

from edgetune.adapter import adapter_from, load_adapter, tuned_from
from edgetune.methods.head import LinearHead, MlpHead, first_seen, head_from
from edgetune.methods.prefix import Prefix
from edgetune.methods.prompt import Prompt
from edgetune.methods.tuned import Tuned
from edgetune.models.forward import full_mask, run
from edgetune.models.virtual import Virtual

from ..tiny import batch_of, ids_of, random_prefix, random_prompt

BY_HAND = {
    "tanh": math.tanh,
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "relu": lambda x: max(x, 0.0),
}


@pytest.mark.parametrize("activation", list(BY_HAND))
def test_a_hidden_layer_is_what_its_formula_says(activation):
    head = MlpHead(2, 2, 3, activation)
    dense, inner = [[1.0, -2.0], [0.5, 0.25], [-1.0, 1.0]], [0.1, -0.2, 0.3]
    weight, bias = [[1.0, 2.0, -1.0], [0.0, 1.0, 3.0]], [0.5, -0.5]
    with torch.no_grad():
        for parameter, values in (
            (head.dense.weight, dense),
            (head.dense.bias, inner),
            (head.weight, weight),
            (head.bias, bias),
        ):
            parameter.copy_(torch.tensor(values))
    x = [0.7, -1.1]
    hidden = [BY_HAND[activation](sum(w * v for w, v in zip(row, x)) + b) for row, b in zip(dense, inner)]
    expected = [sum(w * h for w, h in zip(row, hidden)) + b for row, b in zip(weight, bias)]
    torch.testing.assert_close(head(torch.tensor([x]))[0], torch.tensor(expected), rtol=0, atol=1e-6)


def test_an_untrained_head_prefers_no_class_and_the_same_seed_gives_the_same():
    made = [MlpHead(4, 3, 4, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(made[0].dense.weight, made[1].dense.weight)
    assert not torch.equal(made[0].dense.weight, made[2].dense.weight)
    assert not made[0](torch.randn(2, 4)).any()


def test_the_start_is_the_first_position_that_is_seen():
    hidden = torch.arange(12.0).view(3, 4, 1)
    mask = torch.tensor([[1, 1, 1, 0], [0, 0, 1, 1], [0, 0, 0, 0]])
    assert first_seen(hidden, mask).flatten().tolist() == [0.0, 6.0, 0.0]


@pytest.mark.parametrize("method", ["prompt", "prefix"])
def test_a_head_at_the_start_reads_the_first_virtual_token_of_a_prompt_and_the_text_behind_a_prefix(method, base):
    bert, (ids, mask) = base("bert"), batch_of(ids_of(6, 3))
    virtual = Virtual(prompt=random_prompt(bert, 4)) if method == "prompt" else Virtual(prefix=random_prefix(bert, 4))
    soft = Prompt(virtual.prompt[0]) if method == "prompt" else Prefix([(k[0], v[0]) for k, v in virtual.prefix])
    head = LinearHead(bert.hidden_size, 2)
    torch.nn.init.normal_(head.weight)
    with torch.no_grad():
        expected = head(run(bert, ids, full_mask(mask, virtual), virtual).last_hidden_state[:, 0])
        got = Tuned(bert, soft, head, "start").class_logits(ids, mask)
        on_text = Tuned(bert, soft, head, "first").class_logits(ids, mask)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)
    assert torch.allclose(got, on_text) == (method == "prefix")


@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_a_head_with_a_hidden_layer_is_saved_whole(activation, base, tmp_path):
    bert, (ids, mask) = base("bert"), batch_of(ids_of(6, 3))
    head = MlpHead(bert.hidden_size, 2, 5, activation, torch.Generator().manual_seed(0))
    torch.nn.init.normal_(head.weight)
    tuned = Tuned(bert, Prompt(random_prompt(bert, 3)[0]), head, "start")
    adapter_from(tuned, task="classify", method="prompt", labels=("a", "b")).save(tmp_path)
    adapter = load_adapter(tmp_path)
    assert adapter.parameters == 3 * 32 + 5 * 32 + 5 + 2 * 5 + 2
    with torch.no_grad():
        assert torch.equal(tuned_from(bert, adapter).class_logits(ids, mask), tuned.class_logits(ids, mask))


def test_no_tensors_of_a_head_are_no_head():
    assert head_from({"prompt_embeds": torch.zeros(2, 2)}, "tanh") is None
