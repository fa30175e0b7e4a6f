"""Encoder–decoders whose prompts stand behind the text, or together with a prefix, against attention written out."""

from dataclasses import replace

import edgetune_runtime
import numpy as np
import pytest
import torch
from edgetune_export.bundle import export_bundle
from references.pairs import pair_base, random_virtual, reference_logits, rows_of

from edgetune.adapter import adapter_from
from edgetune.methods.joined import Joined
from edgetune.methods.prefix import Prefix
from edgetune.methods.prompt import Prompt
from edgetune.methods.tuned import Tuned
from edgetune.models.virtual import NOTHING

TOLERANCE = 1e-4
VIRTUAL = {
    "after": dict(places=(), suffix=4, seed=1),
    "both": dict(places=(), prompt=3, suffix=2, seed=2),
    "joined": dict(length=3, prompt=2, seed=3),
    "joined-both": dict(places=("encoder", "decoder"), length=2, prompt=2, suffix=1, seed=4),
    "shared": dict(length=3, seed=5),
}


def soft_of(virtual):
    """The learned parts that hold these values."""
    vectors = [x[0] for x in (virtual.prompt, virtual.suffix) if x is not None]
    prompt = Prompt(torch.cat(vectors), virtual.prompt_length) if vectors else None
    placed = {"encoder": virtual.prefix, "decoder": virtual.decoder, "cross": virtual.cross}
    layers = [(key[0], value[0]) for of_place in placed.values() for key, value in of_place or ()]
    counts = {place: len(of_place) for place, of_place in placed.items() if of_place}
    shared = bool(layers) and torch.equal(*layers[0])
    prefix = Prefix(layers, counts, shared=shared) if layers else None
    return Joined(prompt, prefix) if prompt and prefix else prompt or prefix


def virtual_of(base, name):
    virtual = random_virtual(base, **VIRTUAL[name])
    if name != "shared":
        return virtual
    placed = {
        place: [(value, value) for _, value in getattr(virtual, place)] for place in ("prefix", "decoder", "cross")
    }
    return replace(virtual, **placed)


@pytest.fixture(scope="module", params=["T5", "Marian"])
def bundle(request, tmp_path_factory):
    """Marian scales its embeddings, T5 has a bias by distance."""
    base = pair_base(request.param)
    virtual = {name: virtual_of(base, name) for name in VIRTUAL}
    method = {name: "prefix" if name == "shared" else "prompt" for name in VIRTUAL}
    adapters = {
        name: adapter_from(Tuned(base, soft_of(x)), task="generate", method=method[name]) for name, x in virtual.items()
    }
    assert adapters["both"].virtual_tokens == 5 and "past_key_values.0.decoder.key_value" in adapters["shared"].tensors
    out = tmp_path_factory.mktemp("bundles") / request.param
    export_bundle(base, adapters, out)
    return base, {**virtual, None: NOTHING}, edgetune_runtime.load(out)


def test_logits_of_a_completion_are_those_of_attention_written_out(bundle):
    base, virtual, model = bundle
    for name, tokens in virtual.items():
        for ids, text in zip(rows_of((5, 14, 1)), rows_of((7, 1, 12), seed=1)):
            expected = reference_logits(base, tokens, ids, [base.places.beginning.start, *text[:-1]]).numpy()
            got = model.completion_logits(ids, text, adapter=name)
            np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE * max(1, np.abs(expected).max()))


def test_rows_with_different_options_share_a_batch(bundle):
    base, virtual, model = bundle
    names, (text,) = list(virtual), rows_of((6,), seed=2)
    rows = rows_of((5, 14, 1, 9, 3, 6), seed=1)
    logits, state = model.decoder.prefill([np.array(row) for row in rows], [model.adapter_named(x) for x in names])
    found = [logits.copy()]
    for token in text:
        logits, state = model.decoder.step(np.full(len(rows), token), state)
        found.append(logits.copy())
    for name, ids, got in zip(names, rows, np.stack(found, axis=1)):
        expected = reference_logits(base, virtual[name], ids, [base.places.beginning.start, *text]).numpy()
        np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE * max(1, np.abs(expected).max()))
