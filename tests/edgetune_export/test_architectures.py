"""Torch against the runtime, one body for every family: prompt and prefix, batches of mixed lengths, steps."""

import edgetune_runtime
import numpy as np
import pytest
import torch
from edgetune_export.bundle import export_bundle
from references.eager import eager_greedy, eager_logits

from edgetune.adapter import tuned_from

from .conftest import DECODERS, ENCODERS, LATENT, made_base, random_adapter, rows_of

TOLERANCE = 1e-4
LENGTHS = (5, 14, 1, 9)


@pytest.fixture(scope="module", params=list(DECODERS))
def decoder_bundle(request, tmp_path_factory):
    base = made_base(request.param)
    adapters = {"prefix": random_adapter(base, "prefix", 4), "prompt": random_adapter(base, "prompt", 3)}
    out = tmp_path_factory.mktemp("bundles") / request.param
    export_bundle(base, adapters, out)
    return base, {**adapters, None: None}, edgetune_runtime.load(out)


@pytest.fixture(scope="module", params=list(ENCODERS))
def encoder_bundle(request, tmp_path_factory):
    base = made_base(request.param)
    adapters = {"prefix": random_adapter(base, "prefix", 4, 3), "prompt": random_adapter(base, "prompt", 6, 5)}
    out = tmp_path_factory.mktemp("bundles") / request.param
    export_bundle(base, adapters, out)
    return base, adapters, edgetune_runtime.load(out)


def test_decoder_gives_the_logits_of_eager_attention(decoder_bundle):
    base, adapters, model = decoder_bundle
    for name, adapter in adapters.items():
        for ids in rows_of(LENGTHS):
            expected = eager_logits(base, adapter, ids).numpy()
            for got in (model.logits(ids, adapter=name), model.step_logits(ids, adapter=name)):
                np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE)


def test_rows_with_different_adapters_and_lengths_share_a_batch(decoder_bundle):
    base, adapters, model = decoder_bundle
    rows, names = rows_of(LENGTHS, seed=1), ["prefix", "prompt", None, "prefix"]
    answers = model.generate(rows, adapter=names, max_new_tokens=12, temperature=0)
    for ids, name, answer in zip(rows, names, answers):
        assert answer.token_ids == eager_greedy(base, adapters[name], ids, 12)[0]


@pytest.mark.parametrize("family", list(LATENT))
def test_a_decoder_whose_own_cache_is_latent_gives_the_logits_of_eager_attention(family, tmp_path):
    """The export compares the prefix with torch's."""
    base = made_base(family)
    adapters = {"prompt": random_adapter(base, "prompt", 3), "prefix": random_adapter(base, "prefix", 4)}
    export_bundle(base, adapters, tmp_path / "bundle")
    model = edgetune_runtime.load(tmp_path / "bundle")
    for name, adapter in (("prompt", adapters["prompt"]), (None, None)):
        for ids in rows_of(LENGTHS):
            expected = eager_logits(base, adapter, ids).numpy()
            for got in (model.logits(ids, adapter=name), model.step_logits(ids, adapter=name)):
                np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE)


def test_encoder_gives_the_logits_of_torch(encoder_bundle):
    base, adapters, model = encoder_bundle
    rows = rows_of(LENGTHS)
    for name, adapter in adapters.items():
        got = model.class_logits(rows, name)
        for ids, row in zip(rows, got):
            np.testing.assert_allclose(row, torch_class_logits(base, adapter, ids), rtol=0, atol=TOLERANCE)


def test_encoder_mixes_adapters_with_different_labels_in_a_batch(encoder_bundle):
    base, adapters, model = encoder_bundle
    rows, names = rows_of(LENGTHS, seed=1), ["prefix", "prompt", "prompt", "prefix"]
    for ids, name, answer in zip(rows, names, model.classify(rows, adapter=names)):
        logits = torch_class_logits(base, adapters[name], ids)
        expected = np.exp(logits) / np.exp(logits).sum()
        assert answer.scores == pytest.approx({f"label {i}": p for i, p in enumerate(expected)}, abs=TOLERANCE)


@torch.no_grad()
def torch_class_logits(base, adapter, ids):
    """One unpadded row, `[C]`."""
    tuned = tuned_from(base, adapter)
    return tuned.class_logits(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.int64))[0].double().numpy()
