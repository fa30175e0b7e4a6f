"""Adapters that a bundle names together answer as an average or a vote of separate calls, in one run of the graph."""

from dataclasses import replace

import edgetune_runtime
import numpy as np
import pytest
from edgetune_export.bundle import export_bundle
from edgetune_export.ensembles import named_ensembles
from edgetune_runtime import Ensemble

from edgetune.errors import AdapterError, ConfigError

from .conftest import random_adapter, rows_of

NAMES = ["a", "b", "c"]


@pytest.fixture(scope="module")
def members(encoder):
    made = {name: random_adapter(encoder, method, 4, 3) for name, method in zip(NAMES, ("prefix", "prompt", "prefix"))}
    made["c"] = replace(made["c"], labels=made["c"].labels[::-1])
    return {**made, "other": random_adapter(encoder, "prompt", 2, 2)}


@pytest.fixture(scope="module")
def model(encoder, members, tmp_path_factory):
    out = tmp_path_factory.mktemp("ensembles") / "b"
    teams = {"mean": Ensemble(tuple(NAMES)), "poll": Ensemble(tuple(NAMES), "vote")}
    export_bundle(encoder, members, out, ensembles=teams)
    return edgetune_runtime.load(out, threads=1)


def test_a_bundle_names_its_ensembles(model):
    assert dict(model.ensembles) == {"mean": Ensemble(("a", "b", "c")), "poll": Ensemble(("a", "b", "c"), "vote")}


def test_an_average_is_that_of_separate_calls(model):
    rows = rows_of([3, 12, 7, 5])
    for row, got in zip(rows, model.classify(rows, ensemble="mean")):
        each = [model.classify(row, adapter=name).scores for name in NAMES]
        assert got.scores == pytest.approx({x: np.mean([e[x] for e in each]) for x in each[0]}, abs=1e-6)
        assert got.label == max(got.scores, key=got.scores.get)
        assert model.classify(row, ensemble=NAMES).scores == pytest.approx(got.scores, abs=1e-6)


def test_a_vote_is_that_of_separate_calls(model):
    rows = rows_of([3, 12, 7, 5, 9, 4])
    answers = model.classify(rows, ensemble="poll")
    for row, got in zip(rows, answers):
        cast = [model.classify(row, adapter=name).label for name in NAMES]
        assert got.scores == pytest.approx({x: cast.count(x) / 3 for x in got.scores})
        assert cast.count(got.label) == max(map(cast.count, cast))
    assert [x.label for x in model.classify(rows, ensemble=NAMES, combine="vote")] == [x.label for x in answers]
    assert answers != model.classify(rows, ensemble="poll", combine="average")


def test_all_members_read_a_text_in_one_run(model, monkeypatch):
    runs, run = [], model.encoder._run
    monkeypatch.setattr(model.encoder, "_run", lambda rows: runs.append(len(rows)) or run(rows))
    model.classify("w5 w6 w7", ensemble=NAMES)
    assert runs == [3]


@pytest.mark.parametrize(
    ("team", "standalone", "error", "told"),
    [
        (Ensemble(("a", "x")), False, ConfigError, "ensemble 'all' names 'x'; the adapters are a, b, c, other"),
        (Ensemble(("a", "a")), False, ConfigError, "names an adapter twice"),
        (Ensemble(("a", "other")), False, AdapterError, "different labels; they must be of one task"),
    ],
)
def test_what_cannot_answer_together_is_refused_before_any_work(
    encoder, members, tmp_path, team, standalone, error, told
):
    with pytest.raises(error, match=told):
        export_bundle(encoder, members, tmp_path / "b", ensembles={"all": team}, standalone=standalone)
    assert not (tmp_path / "b").exists()


def test_a_standalone_bundle_has_no_ensemble(encoder, members, tmp_path):
    with pytest.raises(ConfigError, match="leave --standalone out"):
        export_bundle(encoder, {"a": members["a"]}, tmp_path / "b", standalone=True, ensembles={"x": Ensemble(("a",))})


def test_a_generator_does_not_vote(decoder, tmp_path):
    adapters = {"a": random_adapter(decoder, "prefix", 2), "b": random_adapter(decoder, "prefix", 3)}
    with pytest.raises(ConfigError, match="--combine vote is for classifiers"):
        export_bundle(decoder, adapters, tmp_path / "b", ensembles={"x": Ensemble(("a", "b"), "vote")})
    export_bundle(decoder, adapters, tmp_path / "b", ensembles={"x": Ensemble(("a", "b"))})
    model = edgetune_runtime.load(tmp_path / "b")
    by_name, by_list = (model.generate("w9 w8", ensemble=x, max_new_tokens=6) for x in ("x", ["a", "b"]))
    assert by_name.token_ids == by_list.token_ids


def test_names_of_the_command_line_become_ensembles():
    assert named_ensembles(["x=a, b,c", "y=a"], "vote") == {
        "x": Ensemble(("a", "b", "c"), "vote"),
        "y": Ensemble(("a",), "vote"),
    }
    assert named_ensembles([], None) == {}


@pytest.mark.parametrize(
    ("given", "combine", "told"),
    [(["x"], None, "is not NAME=A,B,C"), (["x=a,"], None, "is not NAME=A,B,C"), (["x=a", "x=b"], None, "two ensembles"),
     ([], "vote", "give --ensemble")],
)  # fmt: skip
def test_other_texts_are_no_ensembles(given, combine, told):
    with pytest.raises(ConfigError, match=told):
        named_ensembles(given, combine)
