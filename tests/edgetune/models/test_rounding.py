"""Rounding is the same wherever weights are rounded, and leaves the base what it was."""

import numpy as np
import pytest
import torch

from edgetune.config import TrainConfig
from edgetune.errors import ConfigError
from edgetune.models.rounding import (
    Rounding,
    Weights,
    named_keeps,
    restored,
    rounded,
    roundings,
    stored,
    table_block,
    weights_from,
    weights_of,
)  # fmt: skip

ROUNDINGS = [
    Rounding(bits, size, symmetric) for bits in (4, 8) for size in (16, 32) for symmetric in (True, False)
] + [Rounding(8), Rounding(16)]  # fmt: skip


def weight(rows=48, columns=7):
    return np.random.default_rng(0).normal(size=(rows, columns)).astype(np.float32)


@pytest.mark.parametrize("rounding", ROUNDINGS, ids=str)
def test_a_weight_comes_back_within_half_a_step(rounding):
    given = weight()
    back = restored(stored(given, rounding), rounding, len(given))
    steps = {4: 2 * np.abs(given).max() / 15, 8: 2 * np.abs(given).max() / 126, 16: 2e-3}[rounding.bits]
    assert back.shape == given.shape and back.dtype == np.float32
    # the largest of one sign is clipped by up to a whole step where zero is in the middle
    assert np.abs(back - given).max() <= (1.0 if rounding.symmetric else 0.51) * steps + 1e-6


@pytest.mark.parametrize("rounding", ROUNDINGS, ids=str)
def test_columns_are_rounded_apart_so_that_joined_products_round_alike(rounding):
    a, b = weight(columns=3), weight(columns=5)
    joined = restored(stored(np.concatenate([a, b], 1), rounding), rounding, len(a))
    apart = [restored(stored(x, rounding), rounding, len(a)) for x in (a, b)]
    np.testing.assert_array_equal(joined, np.concatenate(apart, 1))


def test_rows_that_fill_no_block_are_padded():
    given, rounding = weight(rows=37), Rounding(8, 16)
    assert np.abs(restored(stored(given, rounding), rounding, 37) - given).max() < 0.05


@pytest.mark.parametrize("family", ["llama", "gpt2", "bert"])
def test_the_base_is_rounded_inside_and_itself_outside(base, family):
    made = base(family)
    before = {name: p.detach().clone() for name, p in made.model.named_parameters()}
    fingerprint, weights = made.fingerprint, Weights("int4", block_size=16)
    with rounded(made, weights):
        changed = {n for n, p in made.model.named_parameters() if not torch.equal(p, before[n])}
        assert changed == set(roundings(made, weights)) and made.fingerprint == fingerprint
    assert all(torch.equal(p, before[name]) for name, p in made.model.named_parameters())
    assert all("norm" not in name.lower() and "bias" not in name for name in changed) and len(changed) >= 8


def test_the_base_comes_back_when_something_fails(base):
    made = base("llama")
    before = made.embeddings.weight.detach().clone()
    with pytest.raises(ZeroDivisionError), rounded(made, Weights("int4", block_size=16)):
        _ = 1 / 0
    assert torch.equal(made.embeddings.weight, before)


def test_exceptions_go_by_the_names_of_parameters(base):
    made = base("llama")
    weights = Weights("int4", block_size=16, keep=named_keeps(["*down_proj*=int8,*embed_tokens*=fp32"]))
    found = roundings(made, weights)
    assert {r.bits for n, r in found.items() if "down_proj" in n} == {8}
    assert {r.bits for n, r in found.items() if "up_proj" in n} == {4}
    assert not any("embed_tokens" in n for n in found)


@pytest.mark.parametrize("given", ["lm_head", "=fp32", "lm_head=int5"])
def test_exceptions_that_say_nothing_are_refused(given):
    with pytest.raises(ConfigError, match="NAME=PRECISION"):
        named_keeps([given])


def test_a_description_gives_the_weights_back():
    weights = Weights("int4", 64, False, 1, (("lm_head*", "fp32"),))
    assert weights_from(weights.described()) == weights


def test_a_run_says_what_it_is_tuned_for():
    config = TrainConfig(base_precision="int4", base_block_size=64, base_zeros="asymmetric", base_keep="lm_head*=fp32")
    assert weights_of(config) == Weights("int4", 64, False, keep=(("lm_head*", "fp32"),))
    assert not weights_of(TrainConfig()).rounds


@pytest.mark.parametrize("width, asked, got", [(576, 128, 64), (48, 64, 16), (384, 256, 128), (20, 64, 0)])
def test_a_table_has_the_largest_block_that_divides_its_rows(width, asked, got):
    assert table_block(width, asked) == got


@pytest.mark.parametrize("precision, bits", [("int8", 8), ("int4", 4)])
def test_an_encoders_positions_have_eight_bits(base, precision, bits):
    found = roundings(base("bert"), Weights(precision, block_size=64))
    tables = {name.split(".")[-2]: x for name, x in found.items() if "embeddings" in name}
    wide = base("bert").hidden_size
    assert tables == {
        "word_embeddings": Rounding(bits, table_block(wide, 128 if bits == 8 else 64)),
        "position_embeddings": Rounding(8, table_block(wide, 128)),
    }
