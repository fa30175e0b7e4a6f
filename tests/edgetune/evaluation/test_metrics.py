"""Metrics against hand-worked cases; BLEU and ROUGE are their libraries' own."""

import sys

import pytest

from edgetune.errors import ConfigError
from edgetune.evaluation.metrics import text_metrics
from edgetune.metrics import macro_f1


def test_macro_f1_weighs_labels_alike():
    expected = ["a", "a", "a", "b"]
    assert macro_f1(expected, ["a", "a", "a", "a"]) == pytest.approx((6 / 7 + 0) / 2)
    assert macro_f1(expected, ["a", "a", "b", "b"]) == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert macro_f1(expected, expected) == 1


def test_a_label_that_only_the_answers_have_is_a_mistake_and_no_class():
    assert macro_f1(["a", "a"], ["a", "c"]) == pytest.approx(2 / 3)


def test_texts_equal_to_one_of_several_references_are_perfect():
    references = [["the cat sat on the mat", "a cat sat there"], ["it rained all day long today"]]
    found = text_metrics(references, ["a cat sat there", "it rained all day long today"])
    assert found["exact_match"] == 1 and found["rouge_l"] == 1 and found["bleu"] == pytest.approx(100)


def test_rouge_takes_the_best_reference():
    found = text_metrics([["one two three four", "five six"]], ["five six seven"])
    assert found["rouge_l"] == pytest.approx(2 * (2 / 3) * 1 / (2 / 3 + 1))
    assert found["exact_match"] == 0


def test_a_missing_library_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics.bleu", None)
    with pytest.raises(ConfigError, match=r"edgetune\[metrics\]"):
        text_metrics([["a"]], ["a"])
