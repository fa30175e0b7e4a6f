"""`edgetune bench`: what it measures is what was asked for, and what it derives is arithmetic."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import edgetune_runtime
import pytest
from click.testing import CliRunner

from edgetune.bench.figures import Bench, Plan, Point
from edgetune.bench.machine import bandwidth_gb_s, resident_bytes
from edgetune.bench.measuring import bench, places
from edgetune.cli import edgetune
from edgetune.errors import ConfigError
from edgetune.reports.bench import told
from edgetune.reports.page.bench_plot import bench_plot

GOLDEN = Path(__file__).parents[2] / "golden"
SMALL = Plan(lengths=(4, 8), rows=(1, 3), new_tokens=3, rounds=1)
FOUND = Bench(
    "b", "decoder", "generate", "a", 2, 2_000_000, 1_000_000, 5.0, 7.0, 3_000_000,
    (Point(16, 1, 10.0, 500.0), Point(32, 1, 15.0, 400.0), Point(16, 4, 30.0, 900.0)), 12.0, 2.0,
)  # fmt: skip


@pytest.mark.parametrize(
    "name", ["decoder-shared", "decoder-standalone", "encoder-shared", "encoder-standalone-prompt"]
)
def test_every_length_is_measured_alone_and_every_number_of_rows_with_the_shortest(name):
    found = bench(GOLDEN / name, SMALL)
    assert [(p.tokens, p.rows) for p in found.points] == [(4, 1), (8, 1), (4, 3)]
    assert all(p.answer_ms > 0 for p in found.points)
    assert all((p.tokens_per_second is not None) == (found.task == "generate") for p in found.points)
    assert found.size_bytes == sum(x.stat().st_size for x in (GOLDEN / name).rglob("*") if x.is_file())
    assert found.weight_bytes == sum(x.stat().st_size for x in (GOLDEN / name).glob("model.onnx*"))


def test_a_bundle_of_one_adapter_has_nothing_to_switch_to():
    assert bench(GOLDEN / "decoder-standalone", SMALL).switch_us is None
    assert bench(GOLDEN / "decoder-shared", SMALL).switch_us is not None


def test_the_longest_text_that_leaves_room_is_measured_and_a_longer_one_is_not():
    model = edgetune_runtime.load(GOLDEN / "decoder-shared")
    limit, adapter = model.manifest.graph.max_positions, model.default_adapter
    longest = limit - model.adapters[adapter].virtual_tokens - SMALL.new_tokens
    plan = Plan((4, longest, longest + 1), (1,), SMALL.new_tokens, 1)
    assert [p.tokens for p in bench(GOLDEN / "decoder-shared", plan).points] == [4, longest]
    with pytest.raises(ConfigError, match=f"no text of {limit} tokens fits"):
        bench(GOLDEN / "decoder-shared", Plan((limit,), (1,), 2, 1))


def test_places_follow_the_plan():
    assert places(Plan((8, 32), (1, 2, 4))) == [(8, 1), (32, 1), (8, 2), (8, 4)]


def test_the_fraction_is_of_the_tokens_that_the_bandwidth_allows():
    # 2 GB/s read a megabyte of weights 2,000 times a second
    assert FOUND.fraction(FOUND.points[0]) == pytest.approx(0.25)
    assert FOUND.fraction(FOUND.points[2]) is None  # rows share what is read


def test_the_table_says_what_was_measured():
    lines = told(FOUND).splitlines()
    assert lines[0] == "b (decoder, generate, adapter a, 2 threads)"
    assert lines[-3].split() == ["1", "16", "10.0", "500", "0.25"] and lines[-1].split() == ["4", "16", "30.0", "900"]


def test_the_plot_is_xml_with_a_mark_for_each_length():
    drawn = ElementTree.fromstring(bench_plot(FOUND))
    marks = [x for x in drawn.iter() if x.tag.endswith("circle")]
    assert len(marks) == 2 and float(marks[0].get("cy")) < float(marks[1].get("cy"))  # 500 stands above 400


def test_memory_that_is_taken_is_seen():
    before = resident_bytes()
    taken = bytearray(64 * 2**20)
    taken[:: 2**12] = b"x" * len(taken[:: 2**12])
    assert resident_bytes() - before > 50 * 2**20


def test_the_bandwidth_is_that_of_a_machine():
    assert 0.1 < bandwidth_gb_s(size_mb=64, rounds=1) < 5000


def run(*options):
    return CliRunner().invoke(edgetune, ["bench", str(GOLDEN / "decoder-shared"), "--rounds", "1", *options])


def test_json_holds_every_point(tmp_path):
    result = run("--tokens", "8,4", "--rows", "2", "--new-tokens", "2", "--json", "--plot", str(tmp_path / "p.svg"))
    assert result.exit_code == 0, result.output
    assert [(p["tokens"], p["rows"]) for p in json.loads(result.stdout)["points"]] == [(4, 1), (8, 1), (4, 2)]
    assert ElementTree.parse(tmp_path / "p.svg").getroot().tag.endswith("svg")


@pytest.mark.parametrize("tokens", ["0,4", "4,x", ""])
def test_lengths_that_are_none_are_refused(tokens):
    result = run("--tokens", tokens)
    assert result.exit_code == 2 and "--tokens" in result.output
