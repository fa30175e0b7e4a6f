"""What a sweep is, before it starts."""

import pytest

from edgetune.errors import ConfigError
from edgetune.metrics import Measure
from edgetune.sweep.plan import EarlyStopping

BIO, TAGS = ("O", "B-name", "I-name"), ("noun", "verb")


@pytest.mark.parametrize(
    ("grace", "factor", "steps", "rungs"),
    [
        (10, 4, 200, [10, 40, 160]),
        (10, 4, 160, [10, 40]),
        (40, 4, 200, [40, 160]),
        (50, 2, 50, []),
        (1, 3, 10, [1, 3, 9]),
    ],
)
def test_rungs_are_a_factor_apart_and_end_before_the_run_does(grace, factor, steps, rungs):
    assert EarlyStopping(grace, factor).rungs(steps) == rungs


@pytest.mark.parametrize(
    ("task", "labels", "metric", "measure"),
    [
        ("classify", ("no", "yes"), None, Measure("accuracy", True)),
        ("classify", ("no", "yes"), "macro_f1", Measure("macro_f1", True)),
        ("classify", ("no", "yes"), "loss", Measure("loss", False)),
        ("tag", BIO, None, Measure("f1", True)),
        ("tag", TAGS, None, Measure("accuracy", True)),
        ("regress", (), None, Measure("mse", False)),
        ("regress", (), "spearman", Measure("spearman", True)),
        ("generate", (), None, Measure("loss", False)),
        ("generate", (), "perplexity", Measure("perplexity", False)),
    ],
)
def test_configurations_are_ranked_by_the_tasks_own_measure_or_another_of_its_metrics(
    plan, task, labels, metric, measure
):
    assert plan({"method": "prompt"}, task=task, metric=metric).measure(labels) == measure


def test_the_first_rung_is_the_first_evaluation_unless_told_otherwise(plan):
    assert plan({"method": "prompt"}).stopping == EarlyStopping(2, 4)
    assert plan({"method": "prompt"}, grace_period=3, reduction_factor=2).stopping == EarlyStopping(3, 2)
    assert plan({"method": "prompt"}, early_stopping=False).stopping is None


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"metric": "f1"}, "has no f1; rank by accuracy, macro_f1, loss"),
        ({"seeds": 0}, "seeds is 0"),
        ({"steps": 0}, "steps is 0"),
        ({"eval_data": None}, "eval_data is missing"),
        ({"reduction_factor": 1}, "reduction-factor is 1"),
        ({"grace_period": 0}, "grace-period is 0"),
    ],
)
def test_what_cannot_be_swept_is_refused(plan, options, told):
    with pytest.raises(ConfigError, match=told):
        plan({"method": "prompt"}, **options)


def test_a_method_that_is_none_is_refused(plan):
    with pytest.raises(ConfigError, match="method is 'lora'"):
        plan({"method": "lora"})
