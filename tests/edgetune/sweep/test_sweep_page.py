"""The page of a sweep is one whole file, and what it shows are the figures."""

import csv
import json
import re
import xml.etree.ElementTree as ElementTree
from io import StringIO

import pytest
from rich.console import Console

from edgetune.reports.page.scatter import bytes_told
from edgetune.reports.page.sweep_page import best_told, plots, spaced, sweep_page
from edgetune.reports.sweep import MOST_ROWS, figures_text, sweep_table, trials_text

from .made import sweep_of, trial_of

COMMAND = "edgetune export --model m --adapter swept/best --out BUNDLE"
TRIED = {"a": (10_000, 0.6), "b": (12_000, 0.5), "c": (20_000, 0.8), "d": (30_000, 0.7), "e": (40_000, 0.9)}
"""Parameters and quality; a, c and e are the front."""


@pytest.fixture
def sweep():
    complete = [
        trial_of(i, name, (quality - 0.02, quality + 0.02), parameters=cost, size=2 * cost)
        for i, (name, (cost, quality)) in enumerate(TRIED.items())
    ]
    stopped = trial_of(5, "f", None, end="pruned", step=20, value=0.41)
    return sweep_of(*complete, stopped, trial_of(6, "g", None, end="failed"))


def drawings(sweep):
    markup = re.sub(' xmlns="[^"]*"', "", str(plots(sweep)))
    return list(ElementTree.fromstring(markup).iter("svg"))


def classed(svg, name):
    return [x for x in svg.iter() if name in (x.get("class") or "").split()]


def test_the_page_asks_for_nothing_else_and_holds_every_trial(sweep):
    text = sweep_page(sweep, COMMAND)
    assert not re.search(r"<(script|link|img)|url\(|@import|\bon\w+=|src=", text) and COMMAND in text
    rows = re.findall(r"<tr[^>]*><th[^>]*>.*?</tr>", text.split("<tbody")[1], re.S)
    names = [re.sub("<[^>]*>", " ", row).split()[0] for row in rows]
    assert names == ["e", "c", "d", "a", "b", "f", "g"]
    assert "pruned at step 20" in rows[5] and "(41.0 %)" in rows[5] and "failed" in rows[6]
    assert "the loss is nan at step 3" in text and "after 20, 80 steps" in text


def test_a_name_is_escaped(sweep):
    assert "<b>" not in sweep_page(sweep, "edgetune export --model <b>")


def test_both_plots_join_the_front_and_leave_the_others_faint(sweep):
    parameters, size = drawings(sweep)[:2]
    for svg in (parameters, size):
        (front,) = classed(svg, "front")
        corners = [tuple(map(float, corner.split(","))) for corner in front.get("points").split()]
        assert len(corners) == 3 and corners == sorted(corners)
        assert [y for _, y in corners] == sorted((y for _, y in corners), reverse=True), "better is higher"
        assert sorted(x.text for x in classed(svg, "label")) == ["a", "c", "e"]
        assert len(classed(svg, "faint")) == 2 and len(classed(svg, "seed")) == 10
    assert "40 kB" in [x.text for x in classed(size, "tick")] or "50 kB" in [x.text for x in classed(size, "tick")]


def test_of_many_names_the_first_the_last_and_some_between_are_shown():
    assert spaced(list(range(3)), 5) == [0, 1, 2]
    assert spaced(list(range(9)), 5) == [0, 2, 4, 6, 8]


def test_one_trial_is_a_page_too():
    alone = sweep_of(trial_of(0, "a", (0.5,)))
    assert "1 configuration of" in sweep_page(alone, COMMAND) and not classed(drawings(alone)[0], "front")
    assert best_told(alone) == "a: accuracy 50.0 % with 1,000 parameters, 4.0 kB on the device."


def test_the_terminal_shows_the_best_and_counts_the_rest(sweep):
    many = sweep_of(*(trial_of(i, f"t{i}", (0.5 + i / 100,)) for i in range(MOST_ROWS + 3)))
    text = StringIO()
    Console(file=text, width=80).print(sweep_table(many))
    lines = [line.split() for line in text.getvalue().splitlines()]
    assert ["t22", "72.0", "%"] in [line[:3] for line in lines] and not [line for line in lines if line[:1] == ["t2"]]
    assert "3 more in trials.csv" in text.getvalue()


def test_the_files_hold_the_same_figures(sweep):
    whole = json.loads(figures_text(sweep))
    assert (whole["best"], whole["front"]["parameters"], whole["front"]["size_bytes"]) == (
        "e",
        ["a", "c", "e"],
        ["a", "c", "e"],
    )
    assert whole["trials"][4]["quality"]["mean"] == pytest.approx(0.9) and whole["trials"][5]["quality"] is None
    rows = list(csv.DictReader(StringIO(trials_text(sweep))))
    assert [row["name"] for row in rows] == ["e", "c", "d", "a", "b", "f", "g"]
    assert float(rows[0]["accuracy"]) == pytest.approx(0.9) and float(rows[5]["accuracy"]) == 0.41
    assert rows[6]["why"] == "the loss is nan at step 3" and rows[0]["learning_rate"] == "0.05"


@pytest.mark.parametrize(("count", "told"), [(500, "500 B"), (20_000, "20 kB"), (1_500_000, "1.5 MB")])
def test_bytes_are_told_in_decimal_units(count, told):
    assert bytes_told(count) == told
