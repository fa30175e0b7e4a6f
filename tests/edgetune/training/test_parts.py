"""A batch goes through the base in parts; the step is that of the whole."""

import pytest
import torch

from edgetune.training import parts as parts_of
from edgetune.training.batches import batch_of, step_batches
from edgetune.training.learner import joint_gradient
from edgetune.training.loop import learned
from edgetune.training.objective import loss
from edgetune.training.parts import parts

from .test_accumulation import classified, completed
from .test_loop import tuned_of


def gradient(tuned):
    return torch.cat([p.grad.flatten() for p in learned(tuned)])


@pytest.mark.parametrize("method", ["prompt", "prefix"])
@pytest.mark.parametrize("family, examples, classes", [("bert", classified(11), 3), ("llama", completed(11), 0)])
def test_the_gradient_of_a_step_is_that_of_the_whole_batch(base, monkeypatch, family, examples, classes, method):
    monkeypatch.setitem(parts_of.TOKENS, "cpu", 25)
    batch, tuned = batch_of(examples, 0), tuned_of(base(family), method, classes)
    batches = step_batches(examples, len(examples), 0, "cpu")
    assert len(batches) > 3
    found = joint_gradient(tuned, batches)
    got = gradient(tuned)
    for p in learned(tuned):
        p.grad = None
    whole = loss(tuned, batch)
    whole.backward()
    assert found == pytest.approx(whole.item(), rel=1e-5)
    assert torch.allclose(got, gradient(tuned), rtol=1e-4, atol=1e-6)


def test_rows_stay_in_order_and_padding_goes(monkeypatch):
    monkeypatch.setitem(parts_of.TOKENS, "cpu", 25)
    examples = sorted(completed(11), key=lambda e: len(e.input_ids))
    batch = batch_of(examples, 0)
    found = [batch_of(part, 0) for part in parts(examples, "cpu")]
    assert sum(part.rows for part in found) == 11
    assert torch.equal(torch.cat([part.targets for part in found]), batch.targets)
    rows = [ids[mask.bool()].tolist() for part in found for ids, mask in zip(part.input_ids, part.mask)]
    assert rows == [e.input_ids for e in examples]
    assert found[0].input_ids.shape[1] < batch.input_ids.shape[1]
    assert all(part.mask.any(0).all() for part in found)


def test_what_fits_and_what_other_devices_take_is_left_whole(monkeypatch):
    rows = classified(4)
    assert parts(rows, "cpu") == [rows]
    monkeypatch.setitem(parts_of.TOKENS, "cpu", 1)
    assert [len(part) for part in parts(rows, "cpu")] == [1, 1, 1, 1]
    assert parts(rows, "cuda") == parts(rows, None) == [rows]
