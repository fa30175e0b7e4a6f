"""Torch against the runtime, one body for every option of the methods: positions, both at once, layers, shared keys."""

import edgetune_runtime
import numpy as np
import pytest
import torch
from edgetune_export.bundle import export_bundle

from edgetune.adapter import load_adapter, tuned_from

from .conftest import made_base, rows_of
from .options import SOFTS, option_adapters, plain_decoder_logits, plain_greedy

TOLERANCE = 1e-4
LENGTHS = (5, 14, 1, 9)
ENCODERS = ("BERT", "ModernBERT", "DistilBERT")
DECODERS = ("Llama", "Qwen3", "GPT2", "Gemma3")


@pytest.fixture(scope="module", params=DECODERS)
def decoder_bundle(request, tmp_path_factory):
    base = made_base(request.param)
    adapters = option_adapters(base)
    out = tmp_path_factory.mktemp("bundles") / request.param
    export_bundle(base, adapters, out)
    return base, {**adapters, None: None}, edgetune_runtime.load(out)


@pytest.fixture(scope="module", params=ENCODERS)
def encoder_bundle(request, tmp_path_factory):
    base = made_base(request.param)
    adapters = option_adapters(base)
    out = tmp_path_factory.mktemp("bundles") / request.param
    export_bundle(base, adapters, out)
    return base, adapters, edgetune_runtime.load(out)


def test_decoder_gives_the_logits_of_plain_transformers(decoder_bundle):
    base, adapters, model = decoder_bundle
    for name, adapter in adapters.items():
        for ids, written in zip(rows_of(LENGTHS), rows_of((8,) * len(LENGTHS), seed=2)):
            expected = plain_decoder_logits(base, adapter, ids, written).numpy()
            got = model.completion_logits(ids, written, adapter=name)
            np.testing.assert_allclose(got, expected[-9:-1], rtol=0, atol=TOLERANCE, err_msg=str(name))
            got = model.logits(ids, adapter=name)
            np.testing.assert_allclose(got, expected[: len(got)], rtol=0, atol=TOLERANCE, err_msg=str(name))


def test_scores_of_continuations_are_those_of_plain_transformers(decoder_bundle):
    base, adapters, model = decoder_bundle
    for name, adapter in adapters.items():
        (ids,), written = rows_of((6,)), rows_of((8, 1, 3), seed=2)
        for text, score in zip(written, model.score(ids, written, adapter=name), strict=True):
            logits = torch.as_tensor(plain_decoder_logits(base, adapter, ids, text))[-len(text) - 1 : -1]
            expected = torch.log_softmax(logits.double(), -1)[range(len(text)), text]
            np.testing.assert_allclose(score.token_logprobs, expected, rtol=0, atol=5 * TOLERANCE, err_msg=str(name))


def test_steps_over_the_cache_of_a_mixed_batch_give_the_same(decoder_bundle):
    base, adapters, model = decoder_bundle
    names = list(adapters)
    rows, written = rows_of([1 + 3 * i % 13 for i in range(len(names))], seed=3), rows_of([8], seed=4)[0]
    chosen = [model.adapter_named(name) for name in names]
    logits, state = model.decoder.prefill([np.array(row) for row in rows], chosen)
    found = [logits.copy()]
    for token in written[:-1]:
        logits, state = model.decoder.step(np.full(len(rows), token), state)
        found.append(logits.copy())
    for name, row, got in zip(names, rows, np.stack(found, axis=1)):
        expected = plain_decoder_logits(base, adapters[name], row, written[:-1]).numpy()[-8:]
        np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE, err_msg=str(name))


def test_decoder_rows_with_different_options_write_what_they_write_alone(decoder_bundle):
    base, adapters, model = decoder_bundle
    names = list(adapters)
    rows = rows_of([1 + 5 * i % 11 for i in range(len(names))], seed=1)
    # rows end at different times: the last takes the place of each that leaves
    answers = [answer.token_ids for answer in model.generate(rows, adapter=names, max_new_tokens=10, temperature=0)]
    assert answers == [plain_greedy(base, adapters[name], ids, 10) for name, ids in zip(names, rows)]


def test_a_conversation_behind_each_option_is_that_of_the_whole_text(decoder_bundle):
    base, adapters, model = decoder_bundle
    for name, adapter in adapters.items():
        conversation = model.chat(adapter=name, template="{{ messages | map(attribute='content') | join(' ') }}")
        for text in ("w10 w11 w12", "w20", "w13 w14"):
            said = [*(x["content"] for x in conversation.messages), text]
            ids = base.tokenizer(" ".join(said), add_special_tokens=False, split_special_tokens=True).input_ids
            assert conversation.send(text, max_new_tokens=4).token_ids == plain_greedy(base, adapter, ids, 4), name


def test_a_row_that_leaves_takes_its_suffix_and_its_lengths_along(decoder_bundle):
    base, adapters, model = decoder_bundle
    names, token = ["uneven", "after", "joined-both"], 9
    rows = rows_of([4, 6, 3], seed=5)
    _, state = model.decoder.prefill([np.array(row) for row in rows], [model.adapter_named(x) for x in names])
    state = model.decoder.without_row(0, state)
    logits, _ = model.decoder.step(np.array([token, token]), state)
    for place, row in enumerate((2, 1)):
        expected = plain_decoder_logits(base, adapters[names[row]], rows[row], [token]).numpy()[-1]
        np.testing.assert_allclose(logits[place], expected, rtol=0, atol=TOLERANCE)


def test_steps_of_a_text_are_refused_where_virtual_tokens_stand_behind_it(decoder_bundle):
    _, _, model = decoder_bundle
    with pytest.raises(edgetune_runtime.TaskError, match=r"behind the text.*completion_logits"):
        model.step_logits([5, 6], adapter="after")


def test_encoder_gives_the_logits_of_torch_and_mixes_options_in_a_batch(encoder_bundle):
    base, adapters, model = encoder_bundle
    rows, names = rows_of([1 + 3 * i % 13 for i in range(len(adapters))], seed=1), list(adapters)
    mixed = model.classify(rows, adapter=names)
    for name, ids, answer in zip(names, rows, mixed):
        expected = class_logits(base, adapters[name], ids)
        got = model.class_logits([*rows_of([14, 2]), ids], name)[-1]
        np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE, err_msg=name)
        scores = np.exp(expected) / np.exp(expected).sum()
        assert answer.scores == pytest.approx({f"label {i}": p for i, p in enumerate(scores)}, abs=TOLERANCE)


@pytest.mark.parametrize("pooling", ["first", "start"])
def test_other_poolings_read_the_same_position_in_torch_and_in_the_graph(pooling, encoder, tmp_path):
    adapters = option_adapters(encoder, ("after", "both", "joined-both"), pooling)
    export_bundle(encoder, adapters, tmp_path / "b")
    model, rows = edgetune_runtime.load(tmp_path / "b"), rows_of([8, 3])
    for name, adapter in adapters.items():
        for ids, got in zip(rows, model.class_logits(rows, name)):
            np.testing.assert_allclose(got, class_logits(encoder, adapter, ids), rtol=0, atol=TOLERANCE)


def test_an_adapter_on_the_disk_is_the_one_that_was_saved(encoder, tmp_path):
    for name, adapter in option_adapters(encoder).items():
        (tmp_path / name).mkdir()
        adapter.save(tmp_path / name)
        again = load_adapter(tmp_path / name)
        ids = rows_of([6])[0]
        np.testing.assert_array_equal(class_logits(encoder, again, ids), class_logits(encoder, adapter, ids))
        assert again.virtual_tokens == tuned_from(encoder, again).virtual().tokens
    assert set(SOFTS) == {path.name for path in tmp_path.iterdir()}


@torch.no_grad()
def class_logits(base, adapter, ids):
    """One unpadded row, `[C]`."""
    tuned = tuned_from(base, adapter)
    return tuned.class_logits(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.int64))[0].double().numpy()
