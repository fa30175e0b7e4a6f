"""Several batches a step are one large batch."""

from itertools import islice

import pytest
import torch

from edgetune.config import TrainConfig
from edgetune.methods.head import LinearHead
from edgetune.methods.tuned import Tuned
from edgetune.training.batches import step_batches
from edgetune.training.examples import Example
from edgetune.training.learner import joint_gradient
from edgetune.training.loop import fit, learned, learned_state
from edgetune.training.source import Held

from ..tiny import base_of, ids_of
from .test_batches import shuffled
from .test_loop import tuned_of


def classified(count):
    lengths = [1 + i * 7 % 9 for i in range(count)]
    return [Example(row.tolist(), label=i % 3) for i, row in enumerate(ids_of(*lengths))]


def completed(count):
    """Completions of 1 to 5 tokens: batches of equal rows carry unequal numbers of losses."""
    lengths = [7 + i % 5 for i in range(count)]
    rows = ids_of(*lengths)
    return [Example(r.tolist(), completion=tuple(j >= 6 for j in range(len(r)))) for r in rows]


def steps_of(examples, batch_size, accumulate, seed, done=0):
    source = Held(examples)
    for rows in source.steps(batch_size * accumulate, seed, done, {}):
        yield step_batches(source.examples(rows), batch_size, 0)


def gradient(tuned, batches):
    found = joint_gradient(tuned, batches)
    return found, torch.cat([p.grad.flatten() for p in learned(tuned)])


@pytest.mark.parametrize("method", ["prompt", "prefix"])
@pytest.mark.parametrize("family, examples, classes", [("bert", classified(11), 3), ("llama", completed(11), 0)])
def test_the_gradient_is_that_of_the_large_batch(family, examples, classes, method):
    found = []
    for batch_size, accumulate in ((11, 1), (3, 4), (1, 11)):
        tuned = tuned_of(base_of(family), method, classes)
        if isinstance(tuned.head, LinearHead):
            torch.nn.init.normal_(tuned.head.weight, generator=torch.Generator().manual_seed(0))
        batches = next(steps_of(examples, batch_size, accumulate, 0))
        assert len(batches) == accumulate
        found.append(gradient(tuned, batches))
    for loss, values in found[1:]:
        assert loss == pytest.approx(found[0][0], abs=1e-6)
        assert values.abs().max() > 1e-3 and torch.allclose(values, found[0][1], atol=1e-6, rtol=0)


def test_rows_of_a_step_are_those_of_the_large_batch():
    examples = [Example([i, *[7] * (i * 5 % 11)], label=0) for i in range(90)]
    large = islice(shuffled(examples, 12, 3), 20)
    parts = islice(steps_of(examples, 4, 3, 3), 20)
    for batch, step in zip(large, parts):
        assert all(part.rows <= 4 for part in step)
        assert batch.input_ids[:, 0].tolist() == [i for part in step for i in part.input_ids[:, 0].tolist()]


def test_steps_that_are_done_are_left_out_and_the_rest_is_the_same():
    examples = [Example([i, *[7] * (i * 5 % 11)], label=0) for i in range(50)]
    whole = list(islice(steps_of(examples, 3, 2, 1), 60))
    for done in (0, 1, 8, 9, 37):
        rest = islice(steps_of(examples, 3, 2, 1, done), 5)
        for expected, found in zip(whole[done:], rest):
            assert [b.input_ids.tolist() for b in found] == [b.input_ids.tolist() for b in expected]


def test_a_run_with_small_batches_is_a_run_with_large_ones(base):
    states, reports = [], []
    for options in (dict(batch_size=12), dict(batch_size=4, accumulate=3)):
        tuned, seen = tuned_of(base("bert"), "prefix", 3), []
        config = TrainConfig(steps=6, learning_rate=0.01, **options)
        fit(tuned, config, classified(60), report=seen.append)
        states.append(torch.cat([x.flatten() for x in learned_state(tuned)]))
        reports.append([p.loss for p in seen])
    assert torch.allclose(*states, atol=1e-4) and reports[0] == pytest.approx(reports[1], abs=1e-5)


def test_memory_is_that_of_one_batch(base):
    """No more rows than `batch_size` go through the base at once."""
    seen = []
    tuned: Tuned = tuned_of(base("bert"), "prompt", 3)
    hook = tuned.base.model.register_forward_pre_hook(
        lambda _m, _a, given: seen.append(len(given["attention_mask"])), with_kwargs=True
    )
    try:
        fit(tuned, TrainConfig(steps=3, batch_size=4, accumulate=5), classified(60))
    finally:
        hook.remove()
    assert seen == [4] * 15
