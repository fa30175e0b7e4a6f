"""The loss behind a frozen head, in chunks, is torch's own; its gradient reaches virtual tokens as autograd's does."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from edgetune.methods.prompt import Prompt
from edgetune.methods.tuned import Tuned
from edgetune.models import cross_entropy as module
from edgetune.models.cross_entropy import frozen_head_loss

from ..tiny import batch_of, ids_of, random_prompt


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("chunk", [1, 3 * 50, 2**20])
def test_loss_and_gradient_are_those_of_whole_logits(bias, chunk, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", chunk)
    torch.manual_seed(0)
    head = torch.nn.Linear(8, 50, bias=bias).requires_grad_(False)
    hidden, targets = torch.randn(7, 8, requires_grad=True), torch.randint(50, (7,))
    expected = cross_entropy(head(hidden), targets, reduction="sum") * 3
    (gradient,) = torch.autograd.grad(expected, hidden)
    found = frozen_head_loss(head, hidden, targets) * 3
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, hidden)[0], gradient)


def test_without_gradients_the_loss_is_the_same():
    head, hidden, targets = torch.nn.Linear(8, 50), torch.randn(7, 8), torch.randint(50, (7,))
    with torch.no_grad():
        torch.testing.assert_close(
            frozen_head_loss(head, hidden, targets), cross_entropy(head(hidden), targets, reduction="sum")
        )


@pytest.mark.parametrize("family, plain", [("llama", True), ("gpt2", True), ("opt", True), ("gemma2", False)])
def test_completion_loss_is_the_cross_entropy_of_the_models_own_logits(base, family, plain):
    """Through a prompt that goes through the base once for all rows; Gemma 2 caps its logits behind the head."""
    decoder = base(family)
    assert decoder.plain_head is plain
    ids, mask = batch_of(ids_of(9, 5))
    at = mask.bool() & (torch.arange(9) > 1)
    targets = torch.randint(6, 60, (int(at.sum()),))
    tuned = Tuned(decoder, Prompt(random_prompt(decoder, 4)[0]))
    expected = cross_entropy(tuned.token_logits(ids, mask, at), targets, reduction="sum")
    (gradient,) = torch.autograd.grad(expected, tuned.soft.embeds)
    found = tuned.completion_loss(ids, mask, at, targets)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(torch.autograd.grad(found, tuned.soft.embeds)[0], gradient, rtol=1e-4, atol=1e-4)
