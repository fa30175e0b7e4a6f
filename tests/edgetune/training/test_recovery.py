"""Adapters that are tuned, from the start or at the end, against the weights that ship."""

import pytest
import torch

from edgetune.adapter import load_adapter, tuned_from
from edgetune.config import TrainConfig
from edgetune.errors import ConfigError
from edgetune.models.rounding import Weights, rounded, weights_of
from edgetune.training.objective import measured
from edgetune.training.recovery import recovered
from edgetune.training.result import train_into
from edgetune.training.sets import examples_of, read_sets

INT4 = dict(base_precision="int4", base_block_size=16)


def config_of(rows, **more):
    return TrainConfig(
        task="classify", data=str(rows("classify")), eval_data=str(rows("classify", "held_out")), method="prompt",
        steps=12, batch_size=8, virtual_tokens=3, eval_every=6, **more,
    )  # fmt: skip


def test_a_run_against_rounded_weights_is_measured_on_them_and_leaves_the_base_alone(base, rows, tmp_path):
    made, config = base("bert"), config_of(rows, **INT4)
    before = made.embeddings.weight.detach().clone()
    adapter, outcome = train_into(tmp_path / "a", config, base=made)
    assert torch.equal(made.embeddings.weight, before) and adapter.base_fingerprint == made.fingerprint
    assert load_adapter(tmp_path / "a").tuned_for == Weights("int4", 16).described()
    held_out = examples_of(made, read_sets(config)[0][1], None)
    with rounded(made, weights_of(config)):
        assert measured(tuned_from(made, adapter), held_out) == pytest.approx(outcome.metrics, rel=1e-5)


def test_recovery_is_never_worse_on_the_evaluation_rows_and_names_its_weights(base, rows, tmp_path):
    made, config, weights = base("bert"), config_of(rows), Weights("int4", 16)
    adapter, _ = train_into(tmp_path / "a", config, base=made)
    assert adapter.tuned_for == {}
    after = recovered(made, adapter, tmp_path / "a", weights, 20)
    held_out = examples_of(made, read_sets(config)[0][1], None)
    with rounded(made, weights):
        old, new = (measured(tuned_from(made, x), held_out) for x in (adapter, after))
    assert (new["accuracy"], -new["loss"]) >= (old["accuracy"], -old["loss"])
    assert after is adapter or after.tuned_for == weights.described()


def test_an_adapter_without_its_run_cannot_be_recovered(base, rows, tmp_path):
    made = base("bert")
    adapter, _ = train_into(tmp_path / "a", config_of(rows), base=made)
    (tmp_path / "a" / "run.toml").unlink()
    with pytest.raises(ConfigError, match="--recover"):
        recovered(made, adapter, tmp_path / "a", Weights("int4", 16), 5)
