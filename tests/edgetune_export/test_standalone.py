"""The standalone form is a drop-in: plain onnxruntime, fed as an ordinary export, gives the tuned model's output."""

import edgetune_runtime
import numpy as np
import onnxruntime
import pytest
import torch
from edgetune_export.bundle import export_bundle
from references.eager import eager_logits

from edgetune.adapter import tuned_from
from edgetune.errors import ConfigError

from .conftest import random_adapter, rows_of
from .options import option_adapters, plain_decoder_logits

TOLERANCE = 1e-4


def exported_session(base, adapter, out):
    export_bundle(base, {"task": adapter}, out, standalone=True)
    return onnxruntime.InferenceSession(out / "model.onnx")


@pytest.fixture(scope="module", params=["prefix", "prompt"])
def decoder_session(request, decoder, tmp_path_factory):
    adapter = random_adapter(decoder, request.param, 5)
    return adapter, exported_session(decoder, adapter, tmp_path_factory.mktemp("standalone") / "b")


def empty_past(session):
    """What an ordinary client starts with."""
    shapes = {i.name: i.shape for i in session.get_inputs() if i.name.startswith("past_key_values")}
    return lambda rows: {name: np.zeros((rows, shape[1], 0, shape[3]), np.float32) for name, shape in shapes.items()}


def test_decoder_has_the_inputs_and_outputs_of_an_ordinary_export(decoder, decoder_session):
    _, session = decoder_session
    caches = [f"{{}}.{i}.{part}" for i in range(2) for part in ("key", "value")]
    assert [i.name for i in session.get_inputs()] == [
        "input_ids", "attention_mask", *(c.format("past_key_values") for c in caches)
    ]  # fmt: skip
    assert [o.name for o in session.get_outputs()] == ["logits", *(c.format("present") for c in caches)]


def test_decoder_starts_from_an_empty_past_and_goes_on_in_steps(decoder, decoder_session):
    adapter, session = decoder_session
    (ids,) = rows_of([12])
    past, found = empty_past(session)(1), []
    for start, end in ((0, 6), (6, 7), (7, 8), (8, 12)):
        feeds = {"input_ids": np.array([ids[start:end]]), "attention_mask": np.ones((1, end), np.int64)}
        logits, *present = session.run(None, {**feeds, **past})
        past = dict(zip(past, present))
        found.append(logits[0])
    np.testing.assert_allclose(
        np.concatenate(found), eager_logits(decoder, adapter, ids).numpy(), rtol=0, atol=TOLERANCE
    )


@pytest.mark.parametrize("side", ["left", "right"])
def test_decoder_takes_padded_batches(decoder, decoder_session, side):
    adapter, session = decoder_session
    rows, steps = rows_of([9, 4, 6]), rows_of([3, 3, 3], seed=5)
    longest = max(map(len, rows))
    ids, mask = np.zeros((3, longest), np.int64), np.zeros((3, longest), np.int64)
    for r, row in enumerate(rows):
        place = slice(longest - len(row), None) if side == "left" else slice(0, len(row))
        ids[r, place], mask[r, place] = row, 1
    logits, *present = session.run(None, {"input_ids": ids, "attention_mask": mask, **empty_past(session)(3)})
    got = [[logits[r, mask[r] == 1]] for r in range(3)]
    past = dict(zip(empty_past(session)(3), present))
    for step in range(3):
        mask = np.concatenate([mask, np.ones((3, 1), np.int64)], 1)
        feeds = {"input_ids": np.array([[row[step]] for row in steps]), "attention_mask": mask}
        logits, *present = session.run(None, {**feeds, **past})
        past = dict(zip(past, present))
        for r in range(3):
            got[r].append(logits[r])
    for row, more, found in zip(rows, steps, got):
        expected = eager_logits(decoder, adapter, row + more).numpy()
        np.testing.assert_allclose(np.concatenate(found), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("method", ["prefix", "prompt"])
def test_encoder_is_fed_ids_and_mask_alone(encoder, method, tmp_path):
    adapter = random_adapter(encoder, method, 5, 4)
    session = exported_session(encoder, adapter, tmp_path / "b")
    assert [i.name for i in session.get_inputs()] == ["input_ids", "attention_mask"]
    rows = rows_of([8, 3])
    ids = np.array([rows[0], rows[1] + [0] * 5])
    mask = np.array([[1] * 8, [1] * 3 + [0] * 5])
    (logits,) = session.run(None, {"input_ids": ids, "attention_mask": mask})
    tuned = tuned_from(encoder, adapter)
    for row, got in zip(rows, logits):
        with torch.no_grad():
            expected = tuned.class_logits(torch.tensor([row]), torch.ones(1, len(row), dtype=torch.int64))[0]
        np.testing.assert_allclose(got, expected.numpy(), rtol=0, atol=TOLERANCE)


def test_folding_a_prompt_leaves_the_base_as_it_was(encoder, tmp_path):
    before = encoder.embeddings.weight.clone()
    export_bundle(encoder, {"task": random_adapter(encoder, "prompt", 5, 4)}, tmp_path / "b", standalone=True)
    assert torch.equal(encoder.embeddings.weight, before)


@pytest.mark.parametrize("option", ["joined", "joined-both", "uneven", "last-layer", "first-layer"])
def test_decoder_folds_every_option_that_stands_in_front_of_the_text(decoder, option, tmp_path):
    (adapter,) = option_adapters(decoder, [option]).values()
    if option == "joined-both":
        with pytest.raises(ConfigError, match="does not know where the prompt ends"):
            exported_session(decoder, adapter, tmp_path / "b")
        return
    session = exported_session(decoder, adapter, tmp_path / "b")
    rows, steps = rows_of([9, 4]), rows_of([3, 3], seed=5)
    ids, mask = np.array([rows[0], [0] * 5 + rows[1]]), np.array([[1] * 9, [0] * 5 + [1] * 4])
    logits, *present = session.run(None, {"input_ids": ids, "attention_mask": mask, **empty_past(session)(2)})
    got = [[logits[r, mask[r] == 1]] for r in range(2)]
    for step in range(3):
        mask = np.concatenate([mask, np.ones((2, 1), np.int64)], 1)
        past = dict(zip(empty_past(session)(2), present))
        feeds = {"input_ids": np.array([[row[step]] for row in steps]), "attention_mask": mask}
        logits, *present = session.run(None, {**feeds, **past})
        for r in range(2):
            got[r].append(logits[r])
    for row, more, found in zip(rows, steps, got):
        expected = plain_decoder_logits(decoder, adapter, row, more).numpy()
        np.testing.assert_allclose(np.concatenate(found), expected, rtol=0, atol=TOLERANCE)
    assert list(edgetune_runtime.load(tmp_path / "b").adapters) == ["task"]


@pytest.mark.parametrize(
    "option, pooling", [("after", "mean"), ("both", "start"), ("joined-both", "mean"), ("last-layer", "mean")]
)
@torch.no_grad()
def test_encoder_folds_every_option_whatever_side_is_padded(encoder, option, pooling, tmp_path):
    (adapter,) = option_adapters(encoder, [option], pooling).values()
    session, tuned = exported_session(encoder, adapter, tmp_path / "b"), tuned_from(encoder, adapter)
    rows = rows_of([8, 3])
    ids = np.array([rows[0], rows[1] + [0] * 5, [0] * 5 + rows[1]])
    mask = np.array([[1] * 8, [1] * 3 + [0] * 5, [0] * 5 + [1] * 3])
    (logits,) = session.run(None, {"input_ids": ids, "attention_mask": mask})
    for row, got in zip([*rows, rows[1]], logits):
        expected = tuned.class_logits(torch.tensor([row]), torch.ones(1, len(row), dtype=torch.int64))[0]
        np.testing.assert_allclose(got, expected.numpy(), rtol=0, atol=TOLERANCE)
