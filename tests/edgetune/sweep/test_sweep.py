"""`edgetune sweep` from rows to the best adapter, on a two-layer model."""

import csv
import json
from types import SimpleNamespace

import edgetune_runtime
import pytest

from edgetune.adapter import load_adapter
from edgetune.cli import main
from edgetune.config import TrainConfig, read_config
from edgetune.errors import ConfigError
from edgetune.sweep import runs
from edgetune.training.result import train_into

pytest.importorskip("optuna", reason="Optuna is not installed: pip install 'edgetune[sweep]'")

GRID = ["--methods", "prompt,prefix", "--lengths", "2", "--learning-rates", "0.01,0.1"]


@pytest.fixture(scope="module")
def swept(arguments, tmp_path_factory):
    """A grid of four with two seeds each, nothing stopped early; what it printed and left."""
    from contextlib import redirect_stderr, redirect_stdout
    from io import StringIO

    out = tmp_path_factory.mktemp("swept") / "out"
    with redirect_stderr(StringIO()) as said, redirect_stdout(StringIO()) as printed:
        main([str(x) for x in arguments(*GRID, "--seeds", 2, "--no-early-stopping", "--out", out)])
    figures = json.loads((out / "sweep.json").read_text("utf-8"))
    return SimpleNamespace(out=out, figures=figures, said=said.getvalue(), printed=printed.getvalue())


class TestWhatIsLeft:
    def test_the_folder_holds_page_figures_trials_and_the_best_adapter(self, swept):
        assert {path.name for path in swept.out.iterdir()} == {"report.html", "sweep.json", "trials.csv", "best"}
        assert [path.name for path in swept.out.parent.iterdir()] == ["out"]

    def test_every_configuration_ran_with_every_seed(self, swept):
        found = {trial["name"]: [run["seed"] for run in trial["runs"]] for trial in swept.figures["trials"]}
        names = ("prompt-2-lr-0.01", "prompt-2-lr-0.1", "prefix-2-lr-0.01", "prefix-2-lr-0.1")
        assert found == {name: [0, 1] for name in names}

    def test_a_run_is_the_one_that_train_makes(self, swept, tmp_path):
        """Also the adapter in best/, to the byte."""
        best = swept.out / "best"
        assert sorted(path.name for path in best.iterdir()) == [
            "adapter.json", "adapter.safetensors", "log.jsonl", "run.toml",
        ]  # fmt: skip
        config = TrainConfig(**read_config(best / "run.toml"))
        _, outcome = train_into(tmp_path / "alone", config)
        assert (best / "adapter.safetensors").read_bytes() == (tmp_path / "alone/adapter.safetensors").read_bytes()
        (trial,) = [x for x in swept.figures["trials"] if x["name"] == swept.figures["best"]]
        (run,) = [x for x in trial["runs"] if x["seed"] == config.seed]
        assert run["metrics"] == outcome.metrics and trial["best_seed"] == config.seed
        assert (config.method, config.learning_rate) == (trial["method"], trial["learning_rate"])
        assert trial["parameters"] == load_adapter(best).parameters

    def test_the_best_has_the_best_mean(self, swept):
        means = {x["name"]: sum(run["metrics"]["accuracy"] for run in x["runs"]) / 2 for x in swept.figures["trials"]}
        assert means[swept.figures["best"]] == max(means.values()) > min(means.values())
        for trial in swept.figures["trials"]:
            assert trial["quality"]["mean"] == trial["value"] == pytest.approx(means[trial["name"]])

    def test_the_table_of_trials_is_ranked(self, swept):
        rows = list(csv.DictReader((swept.out / "trials.csv").open()))
        assert rows[0]["name"] == swept.figures["best"] and {row["end"] for row in rows} == {"complete"}
        values = [float(row["accuracy"]) for row in rows]
        assert len(rows) == 4 and values == sorted(values, reverse=True)

    def test_the_terminal_shows_the_same_and_the_next_command(self, swept):
        best = swept.figures["best"]
        assert f"edgetune export --model {swept.figures['model']} --adapter {swept.out / 'best'}" in swept.printed
        assert f"{best}: accuracy" in swept.printed
        assert "trial 0: prompt, 2 tokens, learning rate 0.01, seed 0" in swept.said

    def test_the_best_can_be_exported_as_it_is(self, swept, cli, tmp_path):
        given = ["--model", swept.figures["model"], "--adapter", swept.out / "best", "--out", tmp_path / "bundle"]
        assert cli("export", *given).code == 0
        (info,) = edgetune_runtime.load(tmp_path / "bundle").adapters.values()
        (trial,) = [x for x in swept.figures["trials"] if x["name"] == swept.figures["best"]]
        assert abs(info.size_bytes - trial["size_bytes"]) < 64, "their names differ in length"


def test_a_run_that_lags_is_stopped_and_said_to_be(cli, arguments, figures, tmp_path):
    """A rate of nothing learns nothing, so it is behind the first at the first rung."""
    rates = ["--methods", "prefix", "--lengths", 2, "--learning-rates", "0.1,0.00001"]
    stopping = ["--metric", "loss", "--reduction-factor", 2, "--grace-period", 4]
    found = cli(*arguments(*rates), *stopping, "--out", tmp_path / "out")
    assert found.code == 0, found.err
    good, bad = figures(tmp_path / "out")["trials"]
    assert (good["end"], bad["end"], bad["step"], bad["runs"]) == ("complete", "pruned", 4, [])
    assert "pruned at step 4" in " ".join(found.out.split()) and "pruned at step 4" in found.err
    assert figures(tmp_path / "out")["rungs"] == [4]


@pytest.fixture
def diverging(monkeypatch):
    """Runs at a rate of 0.01 end as those do whose loss is no longer a number."""
    original = runs.train_into

    def train(out, config, *args, **kwargs):
        if config.learning_rate == 0.01:
            raise ConfigError("the loss is nan at step 3; a learning rate below 0.01 may help")
        return original(out, config, *args, **kwargs)

    monkeypatch.setattr(runs, "train_into", train)


def test_a_trial_that_fails_is_told_and_the_others_go_on(cli, arguments, figures, tmp_path, diverging):
    rates = ["--methods", "prompt", "--lengths", 2, "--learning-rates", "0.01,0.1"]
    found = cli(*arguments(*rates), "--out", tmp_path / "out")
    assert found.code == 0, found.err
    bad, good = figures(tmp_path / "out")["trials"]
    assert (bad["end"], good["end"]) == ("failed", "complete") and bad["why"].startswith("the loss is nan at step 3")
    assert f"failed: {bad['why']}" in found.err and bad["why"] in (tmp_path / "out" / "report.html").read_text("utf-8")


def test_where_every_trial_fails_the_first_reason_is_told(cli, arguments, tmp_path, diverging):
    rates = ["--methods", "prompt,prefix", "--lengths", 2, "--learning-rates", "0.01"]
    found = cli(*arguments(*rates), "--out", tmp_path / "out")
    assert found.code == 1 and not (tmp_path / "out").exists()
    assert "none of 2 trials is complete, 2 failed; the first: the loss is nan at step 3" in found.err


def test_no_trial_begins_beyond_the_budget(cli, arguments, figures, tmp_path):
    """Two of 6 steps are 12: a third one would begin after 11, and none after 12."""
    found = cli(*arguments(*GRID), "--no-early-stopping", "--total-steps", 12, "--out", tmp_path / "out")
    assert found.code == 0, found.err
    assert len(figures(tmp_path / "out")["trials"]) == 2 and figures(tmp_path / "out")["search"] == "tpe"


class TestRefusals:
    """Each before the first trial, in one line, with nothing left behind."""

    @pytest.fixture
    def refused(self, cli, tmp_path):
        def call(*given):
            found = cli(*given, "--out", tmp_path / "out")
            assert found.code == 1 and found.err.startswith("edgetune: ") and found.err.count("\n") == 1, found.err
            assert not list(tmp_path.iterdir())
            return found.err

        return call

    def test_workers_without_ray(self, refused, arguments):
        assert "--workers is for --ray" in refused(*arguments("--workers", 2))

    def test_a_length_that_leaves_no_room(self, refused, arguments):
        assert "leave no room for text" in refused(*arguments("--lengths", "2,64", "--methods", "prompt"))

    def test_a_start_that_needs_more(self, refused, arguments):
        assert "give --init-text" in refused(*arguments("--inits", "vocab,text"))

    def test_a_range_without_an_end(self, refused, arguments):
        assert "give --trials" in refused(*arguments("--learning-rates", "1e-4..1e-1"))

    def test_nothing_to_resume(self, refused, arguments):
        assert "nothing to resume" in refused(*arguments("--resume"))

    def test_optuna_is_missing(self, refused, arguments, monkeypatch):
        import sys

        monkeypatch.setitem(sys.modules, "optuna", None)
        assert "pip install 'edgetune[sweep]'" in refused(*arguments())

    def test_ray_is_missing(self, refused, arguments, monkeypatch):
        import sys

        monkeypatch.setitem(sys.modules, "ray", None)
        assert "pip install 'edgetune[ray]'" in refused(*arguments("--ray"))


def test_an_earlier_sweep_is_replaced_only_with_force(cli, arguments, swept):
    before = (swept.out / "sweep.json").read_bytes()
    found = cli(*arguments(*GRID), "--out", swept.out)
    assert found.code == 1 and "--force" in found.err and (swept.out / "sweep.json").read_bytes() == before
