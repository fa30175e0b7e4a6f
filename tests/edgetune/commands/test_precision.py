"""Small weights from the command line: told, measured, recovered."""

import json

import edgetune_runtime
import pytest

from edgetune.adapter import load_adapter


def test_an_export_tells_precision_size_and_what_it_costs(cli, folders, trained, rows, tmp_path):
    found = cli(
        "export", "--model", folders("bert"), "--adapter", f"mood={trained['classify', 'prefix']}", "--out",
        tmp_path / "b", "--precision", "int4", "--block-size", "16", "--recover", "5",
        "--eval-data", rows("classify", "held_out"),
    )  # fmt: skip
    assert found.code == 0, found.err
    assert "in all, int4" in found.err and "torch with the same rounded weights" in found.err
    assert "allowed: 1e-01" in found.err and "torch fp32, this bundle in int4" in found.err and "accuracy" in found.err
    description = json.loads((tmp_path / "b/bundle.json").read_text())
    assert description["precision"] == "int4" and description["weights"]["block_size"] == 16
    assert list(edgetune_runtime.load(tmp_path / "b").adapters) == ["mood"]
    assert "MatMulNBits" in cli("inspect", tmp_path / "b").out


def test_training_against_rounded_weights_is_recorded(cli, folders, rows, tmp_path):
    found = cli(
        "train", "--model", folders("llama"), "--data", rows("generate"), "--task", "generate", "--steps", "2",
        "--base-precision", "int4", "--base-block-size", "16", "--virtual-tokens", "2", "--batch-size", "4",
        "--out", tmp_path / "a",
    )  # fmt: skip
    assert found.code == 0, found.err
    assert load_adapter(tmp_path / "a").tuned_for["precision"] == "int4"
    assert 'base_precision = "int4"' in (tmp_path / "a/run.toml").read_text()


@pytest.mark.parametrize("options, told", [
    (["--block-size", "48"], "a block of 48 weights is not known"),
    (["--keep", "lm_head"], "is not NAME=PRECISION"),
    (["--accuracy-level", "2"], "accuracy level 2 is not known"),
])  # fmt: skip
def test_what_no_bundle_can_store_is_told_in_one_line(refused, folders, tmp_path, options, told):
    assert told in refused("export", "--model", folders("bert"), "--out", tmp_path / "b", *options)
