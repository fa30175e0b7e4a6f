"""An ensemble from seeds to the terminal."""

import json
from pathlib import Path

import edgetune_runtime
import pytest


@pytest.fixture(scope="module")
def bundle(folders, rows, tmp_path_factory):
    from edgetune.cli import main

    folder = tmp_path_factory.mktemp("ensemble")
    given = []
    for seed in (1, 2, 3):
        main([
            "train", "--model", folders("bert"), "--data", rows("classify"), "--task", "classify", "--method", "prompt",
            "--steps", "4", "--virtual-tokens", "2", "--seed", str(seed), "--out", str(folder / f"s{seed}"),
        ])  # fmt: skip
        given += ["--adapter", str(folder / f"s{seed}")]
    out = folder / "bundle"
    main(["export", "--model", folders("bert"), *given, "--ensemble", "all=s1,s2,s3", "--combine", "vote", "--ensemble",
          "two=s1,s2", "--out", str(out)])  # fmt: skip
    return out


def test_the_accuracy_of_an_ensemble_stands_beside_its_members(cli, bundle, rows):
    data = rows("classify", "held_out")
    found = cli("evaluate", "--bundle", bundle, "--data", data, "--ensemble", "all", "--json")
    assert found.code == 0, found.err
    metrics, model = json.loads(found.out), edgetune_runtime.load(bundle)
    given = [json.loads(line) for line in Path(data).read_text("utf-8").splitlines()]

    def accuracy(**chosen):
        answers = model.classify([row["text"] for row in given], **chosen)
        return sum(a.label == row["label"] for a, row in zip(answers, given)) / len(given)

    assert metrics["accuracy"] == accuracy(ensemble="all") and "loss" not in metrics
    for name in ("s1", "s2", "s3"):
        alone = json.loads(cli("evaluate", "--bundle", bundle, "--data", data, "--adapter", name, "--json").out)
        assert metrics[f"accuracy of {name}"] == accuracy(adapter=name) == alone["accuracy"]
    listed = json.loads(cli("evaluate", "--bundle", bundle, "--data", data, "--ensemble", "s1,s3", "--json").out)
    assert listed["accuracy"] == accuracy(ensemble=["s1", "s3"]) and listed["loss"] > 0
    assert "accuracy of s3" in listed and "accuracy of s2" not in listed


def test_an_ensemble_answers_in_the_terminal_and_is_inspected(cli, bundle):
    model = edgetune_runtime.load(bundle)
    for name, chosen in (("all", "all"), ("s1,s2", ["s1", "s2"])):
        expected = model.classify("w14 w3", ensemble=chosen)
        assert cli("run", bundle, "w14 w3", "--ensemble", name).out.startswith(
            f"{expected.label} {expected.score:.3f}  "
        )
    told = cli("inspect", bundle).out
    assert "vote of s1, s2, s3" in told and "vote of s1, s2\n" in told


@pytest.mark.parametrize(("arguments", "told"), [
    (["run", "BUNDLE", "w1", "--ensemble", "nobody"], "no ensemble 'nobody' here"),
    (["evaluate", "--bundle", "BUNDLE", "--data", "DATA", "--ensemble", "s1,nobody"], "no adapter 'nobody' here"),
])  # fmt: skip
def test_a_member_that_is_not_there_is_told(refused, bundle, rows, arguments, told):
    known = {"BUNDLE": bundle, "DATA": rows("classify")}
    assert told in refused(*(known.get(x, x) for x in arguments))


def test_an_ensemble_in_place_of_an_adapter_is_wrong_usage(cli, bundle, rows):
    found = cli("run", bundle, "w1", "--ensemble", "all", "--adapter", "s1")
    assert found.code == 2 and "exclude each other" in found.err
    found = cli("evaluate", "--bundle", bundle, "--data", rows("classify"), "--ensemble", "all", "--adapter", "s1")
    assert found.code == 2 and "in place of --adapter" in found.err


def test_a_generator_is_not_measured_as_an_ensemble(refused, bundles, rows):
    told = refused(
        "evaluate", "--bundle", bundles["generate"], "--data", rows("generate"), "--ensemble", "prefix,prompt"
    )
    assert "--ensemble is measured of classifiers" in told
