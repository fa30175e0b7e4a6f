"""What a run does to the adapter, and that it does nothing to the base."""

import math

import pytest
import torch
from sklearn.metrics import f1_score
from torch.nn.functional import cross_entropy

from edgetune.config import METHODS, TrainConfig
from edgetune.errors import ConfigError
from edgetune.methods.head import LinearHead
from edgetune.methods.start import starting_soft
from edgetune.methods.tuned import Tuned
from edgetune.metrics import better
from edgetune.training.batches import batch_of
from edgetune.training.examples import Example
from edgetune.training.loop import fit, learned, learned_state, rate_at
from edgetune.training.objective import loss, measured

from ..tiny import EOS, base_of, eager, ids_of


def tuned_of(base, method, classes=2, length=3):
    config = TrainConfig(method=method, virtual_tokens=length)
    soft = starting_soft(base, config, (), torch.Generator().manual_seed(0))
    return Tuned(base, soft, LinearHead(base.hidden_size, classes) if classes else None)


def labelled(count, seed=0, flipped=False):
    """The class is which of two words stands twice in front of others."""
    rows = ids_of(*[1 + i % 4 for i in range(count)], seed=seed)
    return [Example([20 + i % 2, 20 + i % 2, *row.tolist()], label=i % 2 ^ flipped) for i, row in enumerate(rows)]


def completions(count, seed=0):
    """A word is always followed by the next one of the vocabulary and the end."""
    rows = [int(row[0]) for row in ids_of(*[1] * count, seed=seed)]
    return [Example([2, word, 6 + (word - 5) % 58, EOS], completion=(False, False, True, True)) for word in rows]


def config_of(task, method, **options):
    return TrainConfig(task=task, method=method, **{"steps": 30, "batch_size": 8, "eval_every": 10, **options})


@pytest.mark.parametrize("steps, warmup, expected", [
    (10, 0.2, [1 / 2, 1, 8 / 8, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]),
    (4, 0.0, [1, 3 / 3, 2 / 3, 1 / 3]),
    (4, 1.0, [1 / 4, 2 / 4, 3 / 4, 1]),
    (1, 0.1, [1]),
])  # fmt: skip
def test_the_rate_rises_and_falls_linearly(steps, warmup, expected):
    assert [rate_at(i, steps, warmup) for i in range(steps)] == pytest.approx(expected)


def test_the_rate_is_reported_as_it_is_applied():
    seen = []
    config = config_of("classify", "prompt", steps=4, warmup=0.5, learning_rate=0.1)
    fit(tuned_of(base_of("bert"), "prompt"), config, labelled(16), report=lambda p: seen.append(p.learning_rate))
    assert seen == pytest.approx([0.05, 0.1, 0.1, 0.05])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family, task, examples", [("bert", "classify", labelled), ("llama", "generate", completions)])
def test_training_leaves_the_base_bit_for_bit(family, task, examples, method):
    base = base_of(family)
    before = {name: x.clone() for name, x in base.model.state_dict().items()}
    tuned = tuned_of(base, method, classes=2 if task == "classify" else 0)
    started = learned_state(tuned)
    fit(tuned, config_of(task, method, steps=3), examples(16))
    assert all(torch.equal(x, before[name]) for name, x in base.model.state_dict().items())
    assert all(p.grad is None and not p.requires_grad for p in base.model.parameters())
    assert not base.model.training
    assert all(not torch.equal(a, b) for a, b in zip(started, learned_state(tuned))), "something was not trained"


def test_only_virtual_tokens_and_head_are_learned(base):
    assert sum(p.numel() for p in learned(tuned_of(base("bert"), "prompt"))) == 3 * 32 + 2 * 32 + 2
    assert sum(p.numel() for p in learned(tuned_of(base("llama"), "prefix", classes=0))) == 2 * 2 * 2 * 3 * 8


@pytest.mark.parametrize("method", METHODS)
def test_a_learnable_classification_is_learned(base, method):
    tuned = tuned_of(base("bert"), method)
    held_out = labelled(40, seed=1)
    before = measured(tuned, held_out)
    outcome = fit(tuned, config_of("classify", method, steps=150, batch_size=16), labelled(200), held_out)
    assert before["loss"] == pytest.approx(math.log(2)), "an untrained head prefers no class"
    assert outcome.metrics["loss"] < 0.5 * before["loss"] and outcome.metrics["accuracy"] > 0.9


@pytest.mark.parametrize("method", METHODS)
def test_a_learnable_completion_is_learned(base, method):
    """What every completion shares, the end token, is learned; the loss falls below that of guessing the word alone."""
    tuned = tuned_of(base("llama"), method, classes=0, length=8)
    held_out = completions(40, seed=1)
    before = measured(tuned, held_out)["loss"]
    outcome = fit(tuned, config_of("generate", method, steps=60), completions(100), held_out)
    assert outcome.metrics["loss"] < 0.75 * before


def test_the_best_checkpoint_is_kept_where_the_last_is_worse():
    """Rows that teach the opposite of the held-out ones: accuracy falls as the run goes on."""
    tuned, held_out, seen = tuned_of(base_of("bert"), "prompt"), labelled(40, seed=1), []
    config = config_of("classify", "prompt", steps=60, eval_every=5)
    outcome = fit(tuned, config, labelled(200, flipped=True), held_out, seen.append)
    evaluated = {p.step: p.metrics for p in seen if p.metrics}
    assert sorted(evaluated) == list(range(5, 65, 5))
    best = max(evaluated, key=lambda step: (evaluated[step]["accuracy"], -evaluated[step]["loss"]))
    assert outcome.step == best < 60 and outcome.metrics == evaluated[best]
    assert evaluated[best]["accuracy"] > evaluated[60]["accuracy"] + 0.2
    assert measured(tuned, held_out) == pytest.approx(outcome.metrics)


def test_without_held_out_rows_the_last_step_is_kept():
    outcome = fit(tuned_of(base_of("bert"), "prompt"), config_of("classify", "prompt", steps=3), labelled(16))
    assert (outcome.step, outcome.metrics) == (3, None)


def test_no_steps_leave_the_first_values_and_measure_them(base):
    tuned = tuned_of(base("bert"), "prefix")
    before = learned_state(tuned)
    outcome = fit(tuned, config_of("classify", "prefix", steps=0), labelled(16), labelled(10, seed=1))
    assert outcome.step == 0 and outcome.metrics["loss"] == pytest.approx(math.log(2))
    assert all(torch.equal(a, b) for a, b in zip(before, learned_state(tuned)))


def test_more_accuracy_is_better_and_less_loss_breaks_ties():
    assert better({"loss": 9.0, "accuracy": 0.6}, {"loss": 1.0, "accuracy": 0.5})
    assert better({"loss": 0.9, "accuracy": 0.5}, {"loss": 1.0, "accuracy": 0.5})
    assert not better({"loss": 1.0, "accuracy": 0.5}, {"loss": 1.0, "accuracy": 0.5})
    assert better({"loss": 0.9}, {"loss": 1.0}) and not better({"loss": 1.1}, {"loss": 1.0})


@pytest.mark.parametrize("method", METHODS)
def test_a_loss_that_is_no_number_ends_the_run_and_names_the_rate(method):
    tuned = tuned_of(base_of("bert"), method)
    with torch.no_grad():
        learned(tuned)[0][0] = torch.nan
    with pytest.raises(ConfigError, match=r"the loss is nan at step 1; a learning rate below 0\.25 may help"):
        fit(tuned, config_of("classify", method, learning_rate=0.25), labelled(16))


def test_a_rate_that_is_far_too_high_ends_the_run():
    config = config_of("classify", "prefix", learning_rate=1e38, steps=50)
    with pytest.raises(ConfigError, match=r"the loss is (nan|inf) at step"):
        fit(tuned_of(base_of("bert"), "prefix"), config, labelled(16))


@torch.no_grad()
def test_the_loss_is_on_the_completions_alone(base):
    """Against transformers' logits, summed by hand over the completions' tokens of rows of different lengths."""
    llama, rows = base("llama"), ids_of(9, 5, 7)
    starts, total, count = (4, 3, 6), 0.0, 0
    examples = [Example(r.tolist(), completion=tuple(i >= s for i in range(len(r)))) for r, s in zip(rows, starts)]
    for row, start in zip(rows, starts):
        log_probabilities = eager(llama)(input_ids=row[None]).logits[0].log_softmax(-1)
        for i in range(start, len(row)):
            total, count = total - float(log_probabilities[i - 1, row[i]]), count + 1
    assert count == 5 + 2 + 1
    bare = Tuned(llama, None)
    assert float(loss(bare, batch_of(examples, 0))) == pytest.approx(total / count, abs=1e-5)
    assert measured(bare, examples)["loss"] == pytest.approx(total / count, abs=1e-5)
    assert measured(bare, examples, batch_size=1)["loss"] == pytest.approx(total / count, abs=1e-5)


@torch.no_grad()
def test_the_loss_of_a_classifier_is_the_mean_over_rows(base):
    tuned = tuned_of(base("bert"), "prefix")
    torch.nn.init.normal_(tuned.head.weight)
    examples = labelled(7)
    rows = [tuned.class_logits(torch.tensor([e.input_ids]), torch.ones(1, len(e.input_ids)).long()) for e in examples]
    logits, labels = torch.cat(rows), torch.tensor([e.label for e in examples])
    expected = {
        "loss": float(cross_entropy(logits, labels)),
        "accuracy": float((logits.argmax(-1) == labels).float().mean()),
        "macro_f1": f1_score(labels, logits.argmax(-1), average="macro"),
    }
    assert measured(tuned, examples, batch_size=3) == pytest.approx(expected, abs=1e-5)
    assert 0 < expected["accuracy"] < 1
