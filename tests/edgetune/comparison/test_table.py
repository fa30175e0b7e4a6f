"""The table for the terminal."""

from io import StringIO

import pytest
from rich.console import Console

from edgetune.reports.comparison import comparison_table

from .made import comparison_of, four_variants, variant_of


def lines(comparison, width=80):
    console = Console(file=StringIO(), width=width)
    console.print(comparison_table(comparison))
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("task", ["classify", "generate"])
def test_eighty_columns_are_enough(task):
    large = variant_of(
        "prefix-100", [3.25, 13.5], task="generate", size=123_400_000, parameters=3_932_160, first=123.4, later=12.3
    )
    comparison = four_variants() if task == "classify" else comparison_of(large, task=task)
    found = lines(comparison)
    assert max(len(line.rstrip()) for line in found) <= 80
    assert "…" not in "".join(found)
    for variant in comparison.variants:
        assert any(line.startswith(variant.name) and f"{variant.parameters:,}" in line for line in found)


def test_a_long_name_is_folded_and_no_figure_is_lost():
    comparison = comparison_of(variant_of("prefix-with-a-very-long-name-and-many-options-20", [0.9, 0.91]))
    whole = "".join(lines(comparison))
    assert "7,680" in whole and "30.0 kB" in whole and "90.5 ± 0.7 %" in whole and "…" not in whole


def test_a_generator_has_both_latencies_and_the_base_alone():
    found = "\n".join(lines(four_variants("generate")))
    assert "2.3 ms   1.0 ms" in found and "base alone" in found
