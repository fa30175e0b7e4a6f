"""Metrics by hand-worked cases, and against seqeval and scipy."""

import random

import pytest
from scipy import stats
from seqeval.metrics import f1_score, precision_score, recall_score

from edgetune.evaluation.metrics import token_f1
from edgetune.metrics import Measure, better, measure_of, number_metrics, pearson, ranks, tag_metrics

BIO = ("O", "B-x", "I-x", "B-y", "I-y")


def test_an_entity_counts_whole():
    expected = [["B-x", "I-x", "O", "B-y"], ["O", "B-x"]]
    got = [["B-x", "O", "O", "B-y"], ["B-x", "B-x"]]  # one too short, one right, one too many, one right
    found = tag_metrics(expected, got, BIO)
    assert found == pytest.approx({"accuracy": 4 / 6, "precision": 2 / 4, "recall": 2 / 3, "f1": 4 / 7})


def test_entities_score_as_in_seqeval():
    rng = random.Random(3)
    draw = lambda: [[rng.choice(BIO) for _ in range(6)] for _ in range(40)]  # noqa: E731
    expected, got = draw(), draw()
    found = tag_metrics(expected, got, BIO)
    assert found["f1"] == pytest.approx(f1_score(expected, got)) and found["f1"] > 0
    assert found["precision"] == pytest.approx(precision_score(expected, got))
    assert found["recall"] == pytest.approx(recall_score(expected, got))


def test_rows_without_entities_score_nothing_and_other_tags_have_no_entities():
    assert tag_metrics([["O"]], [["O"]], BIO)["f1"] == 0.0
    assert tag_metrics([["noun", "verb"]], [["noun", "noun"]], ("noun", "verb")) == pytest.approx(
        {"accuracy": 0.5, "macro_f1": (2 / 3 + 0) / 2}
    )


def test_correlations_are_those_of_scipy():
    rng = random.Random(1)
    a = [float(rng.randint(0, 5)) for _ in range(50)]
    b = [x + rng.gauss(0, 2) for x in a]
    found = number_metrics(a, b)
    assert found["pearson"] == pytest.approx(stats.pearsonr(a, b).statistic)
    assert found["spearman"] == pytest.approx(stats.spearmanr(a, b).statistic)
    assert found["mse"] == pytest.approx(sum((x - y) ** 2 for x, y in zip(a, b)) / 50)
    assert ranks([3.0, 1.0, 3.0, 2.0]) == [3.5, 1.0, 3.5, 2.0]


def test_a_constant_answer_has_no_correlation():
    assert pearson([1.0, 2.0], [3.0, 3.0]) == 0.0


def test_each_task_is_judged_by_its_own_measure():
    assert measure_of({"loss": 1, "accuracy": 1, "f1": 1}) == Measure("f1", True)
    assert measure_of({"loss": 1, "accuracy": 1, "macro_f1": 1}) == Measure("accuracy", True)
    assert measure_of({"loss": 1, "mse": 1, "pearson": 1}) == Measure("mse", False)
    assert measure_of({"loss": 1, "perplexity": 1}) == Measure("loss", False)


def test_better_is_more_of_what_is_good_and_less_of_what_is_not():
    assert better({"loss": 3, "f1": 0.6, "accuracy": 0.1}, {"loss": 1, "f1": 0.5, "accuracy": 0.9})
    assert better({"loss": 1, "mse": 1, "pearson": 0.1}, {"loss": 2, "mse": 2, "pearson": 0.9})
    assert not better({"loss": 2.0}, {"loss": 2.0}) and better({"loss": 2.0}, None)


def test_token_f1_is_squads():
    assert token_f1("The cat, sat!", "a cat sat") == 1.0
    assert token_f1("red fox", "red red dog") == pytest.approx(2 * 1 / (2 + 3))
    assert token_f1("the", "a") == 1.0 and token_f1("fox", "the") == 0.0
