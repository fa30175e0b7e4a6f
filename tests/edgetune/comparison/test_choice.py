"""The recommendation, on figures whose best choice is plain."""

from edgetune.comparison.choice import choice_of
from edgetune.reports.page.paragraph import recommendation

from .made import comparison_of, four_variants, variant_of


def decided(*variants, **more):
    comparison = comparison_of(*variants, **more)
    choice = choice_of(comparison)
    return choice, recommendation(comparison, choice)


def test_clearly_better_quality_wins_at_any_size():
    choice, text = decided(
        variant_of("prompt-20", [0.80, 0.81, 0.82], size=30_000),
        variant_of("prefix-20", [0.90, 0.91, 0.92], size=370_000),
    )
    assert (choice.name, choice.reason, choice.equals) == ("prefix-20", "better", ("prefix-20",))
    assert "91.0 ± 1.0 %" in text and "370.0 kB on the device instead of 30.0 kB" in text
    assert "The smallest of all, prompt-20, takes 30.0 kB and reaches 81.0 ± 1.0 %." in text


def test_within_one_spread_the_smaller_wins():
    choice, text = decided(
        variant_of("prompt-20", [0.90, 0.91, 0.92], size=30_000),
        variant_of("prefix-20", [0.905, 0.915, 0.925], size=370_000),
    )
    assert (choice.name, choice.best, choice.reason) == ("prompt-20", "prefix-20", "smaller")
    assert "within one spread of the best, 91.5 ± 1.0 % of prefix-20" in text
    assert "30.0 kB, then prefix-20 with 370.0 kB" in text


def test_just_outside_one_spread_the_better_wins():
    choice, _ = decided(
        variant_of("prompt-20", [0.89, 0.90, 0.91]), variant_of("prefix-20", [0.902, 0.912, 0.922], size=370_000)
    )
    assert (choice.name, choice.reason) == ("prefix-20", "better")


def test_files_of_one_size_leave_it_to_latency():
    choice, text = decided(
        variant_of("prompt-10", [2.0, 2.1], task="generate", size=100_000, first=9.0, parameters=100),
        variant_of("prefix-10", [2.0, 2.1], task="generate", size=101_000, first=2.0, later=0.5, parameters=200),
        task="generate",
    )
    assert (choice.name, choice.reason) == ("prefix-10", "faster")
    assert "2.0 ms to the first token and 0.50 ms for each later one" in text


def test_files_and_latency_alike_leave_it_to_parameters():
    choice, text = decided(
        variant_of("prefix-10", [2.0, 2.1], task="generate", size=100_000, parameters=200),
        variant_of("prompt-10", [2.0, 2.1], task="generate", size=100_000, parameters=100),
        task="generate",
    )
    assert (choice.name, choice.reason) == ("prompt-10", "fewer parameters")
    assert "fewest parameters: 100, and prefix-10 200" in text


def test_the_faster_of_equals_is_named_beside_the_smaller():
    choice, text = decided(
        variant_of("prompt-20", [0.91, 0.92], size=30_000, first=4.0),
        variant_of("prefix-20", [0.91, 0.92], size=370_000, first=2.0),
    )
    assert (choice.name, choice.faster) == ("prompt-20", "prefix-20")
    assert "2.0 ms a text instead of 4.0 ms a text" in text


def test_less_loss_is_better():
    choice, _ = decided(
        variant_of("prompt-5", [3.0, 3.01], task="generate"),
        variant_of("prefix-5", [2.0, 2.01], task="generate"),
        task="generate",
    )
    assert choice.name == "prefix-5" and choice.over_base


def test_what_does_not_beat_the_base_alone_is_said_to():
    choice, text = decided(variant_of("prompt-5", [3.0, 3.1], task="generate"), task="generate", base_loss=2.5)
    assert choice.over_base is False
    assert "does not beat the base alone, whose loss is 2.500" in text


def test_files_of_one_size_are_not_called_smaller():
    _, text = decided(
        variant_of("prompt-5", [3.0, 3.01], task="generate", size=100_000),
        variant_of("prefix-5", [2.0, 2.01], task="generate", size=100_010),
        task="generate",
    )
    assert "The smallest" not in text and "Both take 100.0 kB" in text


def test_one_seed_has_no_spread_and_the_text_says_so():
    choice, text = decided(variant_of("prompt-20", [0.90]), variant_of("prefix-20", [0.901], size=370_000))
    assert (choice.name, choice.reason) == ("prefix-20", "better")
    assert "±" not in text and "One seed shows no spread" in text


def test_one_variant_is_not_called_better():
    choice, text = decided(variant_of("prompt-20", [0.90, 0.91]))
    assert choice.reason == "only" and "the only variant" in text


def test_a_loss_that_was_still_falling_is_told():
    falling = variant_of("prompt-20", [0.8, 0.81], last=(1.0, 0.7))
    choice, text = decided(falling, variant_of("prefix-20", [0.9, 0.91], last=(0.5, 0.499)))
    assert choice.still_learning == ("prompt-20",)
    assert "held-out loss of prompt-20 was still falling" in text


def test_the_order_of_variants_does_not_matter():
    comparison = four_variants()
    turned = comparison_of(*reversed(comparison.variants))
    assert choice_of(comparison).name == choice_of(turned).name == "prefix-10"
