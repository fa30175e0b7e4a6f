"""Where virtual tokens stand, from training to the device: train, inspect, export, evaluate, add-adapter."""

import json

import edgetune_runtime
import pytest

from edgetune.adapter import load_adapter
from edgetune.cli import main

OPTIONS = {
    "after": ("prompt", "--prompt-position", "after"),
    "joined": ("prompt+prefix", "--prompt-position", "both"),
    "uneven": ("prefix", "--prefix-lengths", "2,5"),
    "last": ("prefix", "--prefix-layers", "last:1", "--prefix-share", "kv"),
}
FAMILIES = {"classify": "bert", "generate": "llama"}


@pytest.fixture(scope="module", params=FAMILIES)
def trained(request, folders, rows, tmp_path_factory):
    """The task, and a folder for each of OPTIONS, trained by the command."""
    task, made = request.param, {}
    for name, (method, *more) in OPTIONS.items():
        made[name] = tmp_path_factory.mktemp("trained") / name
        main([
            "train", "--model", folders(FAMILIES[task]), "--data", rows(task), "--task", task,
            "--method", method, *more, "--steps", "30", "--batch-size", "8", "--virtual-tokens", "3", "--out",
            str(made[name]),
        ])  # fmt: skip
    return task, made


def test_each_option_is_trained_inspected_exported_and_evaluated(cli, folders, rows, trained, tmp_path):
    task, adapters = trained
    model, held_out, bundle = folders(FAMILIES[task]), rows(task, "held_out"), tmp_path / "bundle"
    told = {name: json.loads(cli("inspect", folder, "--json").out) for name, folder in adapters.items()}
    assert told["after"]["prompt_position"] == "3 after the text"
    assert told["joined"]["prompt_position"] == "2 before the text, 1 after"
    assert told["joined"]["virtual_tokens"] == 6 and told["joined"]["method"] == "prompt+prefix"
    assert told["uneven"]["prefix_lengths"] == "2, 5" and told["last"]["prefix_lengths"] == "0, 3"
    assert told["last"]["prefix_share"] == "kv" and "prefix_share" not in told["uneven"]
    given = [x for name, folder in adapters.items() for x in ("--adapter", f"{name}={folder}")]
    found = cli("export", "--model", model, *given, "--out", bundle)
    assert found.code == 0, found.err
    assert "prefix lengths: 2, 5" in cli("inspect", bundle).out
    for name, folder in adapters.items():
        torch_metrics = json.loads(
            cli("evaluate", "--model", model, "--adapter", folder, "--data", held_out, "--json").out
        )
        metrics = json.loads(cli("evaluate", "--bundle", bundle, "--adapter", name, "--data", held_out, "--json").out)
        assert metrics["loss"] == pytest.approx(torch_metrics["loss"], rel=1e-3), name


def test_an_ordinary_bundle_refuses_what_its_graph_does_not_take(cli, refused, folders, trained, tmp_path, rows):
    task, adapters = trained
    model, plain, bundle = folders(FAMILIES[task]), tmp_path / "plain", tmp_path / "bundle"
    assert cli(
        "train", "--model", model, "--data", rows(task), "--task", task, "--method", "prefix", "--steps", 0,
        "--virtual-tokens", 2, "--out", plain,
    ).code == 0  # fmt: skip
    assert cli("export", "--model", model, "--adapter", plain, "--out", bundle).code == 0
    graph = json.loads((bundle / "bundle.json").read_text())["graph"]
    assert "suffixes" not in graph and "layer_lengths" not in graph
    for name, words in (("after", "behind the text"), ("uneven", "longer in some layers than in others")):
        told = refused("add-adapter", bundle, adapters[name])
        assert words in told and "Export the bundle anew" in told
    assert list(edgetune_runtime.load(bundle).adapters) == ["plain"]


def test_a_run_starts_from_another_adapter(cli, folders, rows, trained, tmp_path):
    task, adapters = trained
    out = tmp_path / "next"
    found = cli(
        "train", "--model", folders(FAMILIES[task]), "--data", rows(task), "--task", task, "--method", "prefix",
        "--prefix-lengths", "2,5", "--init", "adapter", "--init-adapter", adapters["uneven"], "--steps", 0,
        "--out", out,
    )  # fmt: skip
    assert found.code == 0, found.err
    new, old = load_adapter(out).tensors, load_adapter(adapters["uneven"]).tensors
    assert new.keys() == old.keys() and all((new[name] == old[name]).all() for name in old)
