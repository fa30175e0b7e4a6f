"""`--head mlp` from training to the device."""

import edgetune_runtime
import pytest
import tomllib
import torch

from edgetune.adapter import load_adapter


@pytest.mark.parametrize(("method", "pooling"), [("prompt", "start"), ("prefix", "mean")])
def test_a_head_with_a_hidden_layer_is_trained_exported_and_answers(cli, folders, rows, tmp_path, method, pooling):
    out, held_out = tmp_path / "out", rows("classify", "held_out")
    found = cli(
        "train", "--model", folders("bert"), "--data", rows("classify"), "--eval-data", held_out, "--task", "classify",
        "--method", method, "--head", "mlp", "--pooling", pooling, "--steps", 60, "--batch-size", 8,
        "--virtual-tokens", 3, "--out", out,
    )  # fmt: skip
    assert found.code == 0, found.err
    saved = tomllib.loads((out / "run.toml").read_text())
    assert (saved["head"], saved["pooling"]) == ("mlp", pooling)
    adapter = load_adapter(out)
    assert adapter.tensors["head.dense.weight"].shape == (32, 32) and adapter.tensors["head.dense.bias"].any()
    bundle = tmp_path / "bundle"
    assert cli("export", "--model", folders("bert"), "--adapter", out, "--out", bundle).code == 0
    assert cli("evaluate", "--bundle", bundle, "--data", held_out).out.count("accuracy         1.0000") == 1
    model = edgetune_runtime.load(bundle)
    assert model.classify("w14 w14 w3").label == "no" and model.classify("w15 w15 w3").label == "yes"


def test_a_hidden_layer_starts_the_same_for_the_same_seed(cli, folders, rows, tmp_path):
    made = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert cli(
            "train", "--model", folders("bert"), "--data", rows("classify"), "--method", "prompt", "--head", "mlp",
            "--steps", 0, "--virtual-tokens", 2, "--task", "classify", "--seed", seed, "--out", tmp_path / name,
        ).code == 0  # fmt: skip
        made.append(load_adapter(tmp_path / name).tensors["head.dense.weight"])
    assert torch.equal(made[0], made[1]) and not torch.equal(made[0], made[2])


def test_a_generator_with_a_head_is_refused(refused, folders, rows, tmp_path):
    told = refused(
        "train", "--model", folders("llama"), "--data", rows("generate"), "--task", "generate", "--head", "mlp",
        "--out", tmp_path / "made" / "out",
    )  # fmt: skip
    assert "--head mlp is a classifier's" in told
