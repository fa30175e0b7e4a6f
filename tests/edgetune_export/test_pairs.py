"""Encoder–decoders: the runtime against attention written out and against transformers' own `generate`."""

import functools
import json
from pathlib import Path

import edgetune_runtime
import numpy as np
import pytest
import torch
from edgetune_export.addition import add_adapter
from edgetune_export.bundle import export_bundle
from references.pairs import EOS, PAIRS, pair_adapter, pair_base, random_virtual, reference_logits, rows_of

from edgetune.errors import UnsupportedModelError
from edgetune.models.virtual import NOTHING

TOLERANCE = 1e-4
VIRTUAL = {
    "everywhere": dict(length=3),
    "encoder": dict(places=("encoder",), length=5, seed=1),
    "decoder": dict(places=("decoder",), length=2, seed=2),
    "cross": dict(places=("cross",), length=4, seed=3),
    "prompt": dict(places=(), prompt=6, seed=4),
}
MISAKI = Path(__file__).parents[3] / "shared" / "models" / "misaki-g2p-bart-us"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """By family, the base and its bundle: the adapters of VIRTUAL, and one with a limit of its own."""

    @functools.cache
    def made(family):
        base, out = pair_base(family), tmp_path_factory.mktemp("bundles") / family
        adapters = {name: pair_adapter(base, **options) for name, options in VIRTUAL.items()}
        export_bundle(base, {**adapters, "task": pair_adapter(base, generation={"max_new_tokens": 5})}, out)
        return base, out

    return made


@pytest.fixture(params=list(PAIRS))
def bundle(request, exported):
    base, out = exported(request.param)
    virtual = {name: random_virtual(base, **options) for name, options in VIRTUAL.items()}
    return base, {**virtual, None: NOTHING}, edgetune_runtime.load(out), out


def greedy(base, virtual, ids, new):
    """New token ids by attention written out, with the family's forced and suppressed tokens; no cache."""
    begin, found = base.places.beginning, []
    while len(found) < new:
        logits = reference_logits(base, virtual, ids, [begin.start, *found])[-1]
        logits[list(begin.suppressed)] = -torch.inf
        token = int(logits.argmax())
        if not found and begin.forced_bos is not None:
            token = begin.forced_bos
        if len(found) == new - 1 and begin.forced_eos is not None:
            token = begin.forced_eos
        if token in base.eos_token_ids:
            return found
        found.append(token)
    return found


def test_logits_of_a_completion_are_those_of_attention_written_out(bundle):
    base, virtual, model, _ = bundle
    for name, tokens in virtual.items():
        for ids, text in zip(rows_of((5, 14, 1)), rows_of((7, 1, 12), seed=1)):
            start = base.places.beginning.start
            expected = reference_logits(base, tokens, ids, [start, *text[:-1]]).numpy()
            got = model.completion_logits(ids, text, adapter=name)
            np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE * max(1, np.abs(expected).max()))


def test_scores_of_completions_are_those_of_attention_written_out(bundle):
    base, virtual, model, _ = bundle
    for name, tokens in virtual.items():
        (ids,), texts = rows_of((9,)), rows_of((7, 1, 12), seed=1)
        for text, score in zip(texts, model.score(ids, texts, adapter=name), strict=True):
            logits = reference_logits(base, tokens, ids, [base.places.beginning.start, *text[:-1]])
            expected = torch.log_softmax(logits.double(), -1)[range(len(text)), text]
            np.testing.assert_allclose(score.token_logprobs, expected, rtol=0, atol=5 * TOLERANCE)
    tokenized = list(base.target_tokenizer("w9 w8").input_ids)
    ended = model.score("w9", "w9 w8", end=True).token_ids
    assert [x for x in ended if x != EOS] == [x for x in tokenized if x != EOS] and ended[-1] == EOS
    assert model.score("w9", "w9 w8").token_ids == ended[:-1]


def test_untuned_text_is_that_of_transformers(bundle):
    base, _, model, _ = bundle
    base.model.set_attn_implementation("eager")
    try:
        for ids in rows_of((5, 9, 1, 7), seed=3):
            expected = base.model.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False)[0, 1:].tolist()
            ended = expected.index(EOS) if EOS in expected else len(expected)
            assert model.generate(ids, adapter=None, max_new_tokens=12).token_ids == expected[:ended]
    finally:
        base.model.set_attn_implementation("edgetune")


def test_beams_write_the_texts_of_transformers(bundle):
    base, _, model, _ = bundle
    base.model.set_attn_implementation("eager")
    options = {"num_beams": 3, "max_new_tokens": 8, "length_penalty": 1.5}
    try:
        for ids in rows_of((5, 9), seed=3):
            rows = base.model.generate(torch.tensor([ids]), do_sample=False, num_return_sequences=2, **options)[:, 1:]
            expected = [row[: row.index(EOS)] if EOS in row else row for row in rows.tolist()]
            first = model.generate(ids, adapter=None, n=2, **options)
            assert [x.token_ids for x in (first, *first.others)] == expected
    finally:
        base.model.set_attn_implementation("edgetune")


def test_rows_with_different_adapters_and_lengths_share_a_batch(bundle):
    base, virtual, model, _ = bundle
    names = [*virtual, "everywhere", "prompt"]
    rows = rows_of((5, 14, 1, 9, 3, 6, 2, 11), seed=1)[: len(names)]
    answers = model.generate(rows, adapter=names, max_new_tokens=10)
    for ids, name, answer in zip(rows, names, answers):
        assert answer.token_ids == greedy(base, virtual[name], ids, 10)


def test_the_limit_ends_a_text_as_the_family_wants_it(bundle):
    """With a forced end token the last place is the end's, as in transformers."""
    base, _, model, _ = bundle
    (ids,) = rows_of((5,))
    answer = model.generate(ids, adapter=None, max_new_tokens=4, min_new_tokens=4)
    assert answer.finish_reason == "length"
    assert len(answer.token_ids) == (4 if base.places.beginning.forced_eos is None else 3)


def test_sampling_repeats_with_its_seed_and_a_stream_is_the_same_text(bundle):
    _, _, model, _ = bundle
    options = dict(adapter="everywhere", max_new_tokens=12, temperature=1.5, top_k=20)
    first, again, other = (model.generate("w9 w10", seed=seed, **options).token_ids for seed in (1, 1, 2))
    assert first == again != other
    chunks = list(model.stream("w9 w10", seed=1, **options))
    assert [token for chunk in chunks for token in chunk.token_ids] == first


def test_a_text_goes_through_the_tokenizer_and_back(bundle):
    _, _, model, _ = bundle
    answer = model.generate("w9 w10 w11", adapter=None, max_new_tokens=6)
    assert answer.token_ids == model.generate([9, 10, 11, EOS], adapter=None, max_new_tokens=6).token_ids
    assert answer.text == model.tokenizer.decode(answer.token_ids)


def test_one_more_adapter_is_added_to_a_bundle(bundle, tmp_path):
    base, _, model, out = bundle
    for name, options in (("late", dict(length=2, seed=7)), ("prompt2", dict(places=(), prompt=2, seed=8))):
        path = add_adapter(out, name, pair_adapter(base, **options), base, force=True)
        model.add_adapter(path, replace=True)
        (ids,), virtual = rows_of((6,)), random_virtual(base, **options)
        assert model.generate(ids, adapter=name, max_new_tokens=6).token_ids == greedy(base, virtual, ids, 6)


@pytest.fixture
def bart(exported):
    return exported("BART")


def test_what_a_bundle_says_of_an_encoder_decoder(bart):
    description = json.loads((bart[1] / "bundle.json").read_text("utf-8"))
    assert (description["kind"], description["graph"]["file"]) == ("encoder-decoder", "decoder.onnx")
    layers = [{"key_value_heads": 4, "head_size": 16}] * 2
    assert description["encoder_decoder"] == {
        "encoder_file": "encoder.onnx", "encoder_layers": layers, "cross_layers": layers, "decoder_start_token_id": 2,
        "forced_bos_token_id": 1, "forced_eos_token_id": 2, "suppressed_token_ids": [], "target_tokenizer_file": None,
    }  # fmt: skip
    assert {"encoder.onnx", "encoder.onnx.data", "decoder.onnx", "decoder.onnx.data"} <= set(description["files"])


def test_neither_graph_holds_the_others_layers(bart):
    """The cross-attention's keys are computed by the encoder's graph alone, and the decoder's weights are not in it."""
    import onnx

    operators = {}
    for side in ("encoder", "decoder"):
        graph = onnx.load(bart[1] / f"{side}.onnx", load_external_data=False).graph
        operators[side] = [node.op_type for node in graph.node]
        held = {x.name for x in graph.initializer}
        assert not any(f"{'decoder' if side == 'encoder' else 'encoder'}.layers" in name for name in held)
    assert (operators["encoder"].count("MultiHeadAttention"), operators["encoder"].count("GroupQueryAttention")) == (
        2,
        0,
    )
    assert (operators["decoder"].count("MultiHeadAttention"), operators["decoder"].count("GroupQueryAttention")) == (
        2,
        2,
    )


def test_the_tasks_own_limit_is_kept(bart):
    model = edgetune_runtime.load(bart[1])
    answer = model.generate("w9 w10", adapter="task", min_new_tokens=4)
    assert len(answer.token_ids) == 4, "five with the forced end token"


@pytest.mark.parametrize("call, error, told", [
    (lambda m: m.classify("w9"), "TaskError", "does not classify"),
    (lambda m: m.logits([9]), "TaskError", "Use completion_logits"),
    (lambda m: m.generate([9] * 129, adapter=None), "ContextLengthError", "the text: 129 tokens and 0 virtual tokens"),
    (lambda m: m.generate("w9", adapter="task", max_new_tokens=125), "ContextLengthError", "Ask for at most 124"),
    (lambda m: m.generate([96]), "InputError", "not of the vocabulary"),
])  # fmt: skip
def test_what_cannot_be_done_is_said(bart, call, error, told):
    with pytest.raises(getattr(edgetune_runtime, error), match=told):
        call(edgetune_runtime.load(bart[1]))


def test_an_adapter_of_another_shape_is_refused(bart, tmp_path):
    from safetensors import safe_open
    from safetensors.numpy import save_file

    _, out = bart
    with safe_open(out / "adapters" / "task.safetensors", framework="np") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    model, path = edgetune_runtime.load(out), tmp_path / "changed.safetensors"
    for changed, told in (
        (
            {**tensors, "past_key_values.2.decoder.key": tensors["past_key_values.0.decoder.key"]},
            "the base has 2 layers",
        ),
        ({k: v for k, v in tensors.items() if k != "past_key_values.1.encoder.value"}, "lacks the tensor"),
        ({k: v[:, :, :2] if "decoder" in k else v for k, v in tensors.items() if "encoder" not in k}, "tensors hold 2"),
    ):
        save_file({k: np.ascontiguousarray(v) for k, v in changed.items()}, path, metadata)
        with pytest.raises(edgetune_runtime.AdapterError, match=told):
            model.add_adapter(path, "changed")


def test_a_manifest_without_its_half_is_refused(bart, tmp_path):
    import shutil

    copy = shutil.copytree(bart[1], tmp_path / "copy")
    description = json.loads((copy / "bundle.json").read_text("utf-8"))
    for change, told in (({"encoder_decoder": None}, "encoder_decoder"), ({"form": "standalone"}, "is not known")):
        (copy / "bundle.json").write_text(json.dumps({**description, **change}), "utf-8")
        with pytest.raises(edgetune_runtime.BundleError, match=told):
            edgetune_runtime.load(copy)


def test_the_standalone_form_is_refused(bart, tmp_path):
    base, _ = bart
    with pytest.raises(UnsupportedModelError, match="is an encoder-decoder; export a shared bundle"):
        export_bundle(base, {"task": pair_adapter(base)}, tmp_path / "out", standalone=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not MISAKI.is_dir(), reason=f"a real model is needed in {MISAKI}")
def test_a_real_model_is_tuned_and_exported_and_pronounces_as_transformers_does(tmp_path):
    from edgetune.config import TrainConfig
    from edgetune.models.base import load_base
    from edgetune.training.result import train_into

    words = ["banana", "pronounce", "Zurich", "I", "rhythm", "o'clock", "thorough"]
    said = ["bənˈɑːnə", "pɹənˈWns", "zjˈʊəɹɪk", "ˈI", "ɹˈɪðəm", "əklˈɒk", "θˈʌɹə"]
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"prompt": w, "completion": s}) + "\n" for w, s in zip(words, said)), "utf-8")
    base = load_base(str(MISAKI), "generate")
    config = TrainConfig(model=str(MISAKI), data=str(rows), eval_data=str(rows), task="generate", virtual_tokens=4,
                         steps=20, eval_every=10, learning_rate=1e-2)  # fmt: skip
    adapter, outcome = train_into(tmp_path / "uk", config, base=base)
    train_into(tmp_path / "none", TrainConfig(**{**vars(config), "steps": 0}), base=base)
    log = [json.loads(line) for line in (tmp_path / "none" / "log.jsonl").read_text("utf-8").splitlines()]
    assert outcome.metrics["loss"] < log[-1]["outcome"]["metrics"]["loss"] - 0.5
    export_bundle(base, {"uk": adapter}, tmp_path / "bundle")
    model = edgetune_runtime.load(tmp_path / "bundle")
    reference = load_base(str(MISAKI), "generate").model
    reference.set_attn_implementation("eager")
    for word in words:
        ids = torch.tensor([base.tokenizer(word).input_ids])
        expected = reference.generate(ids, max_new_tokens=30)[0]
        got = model.generate(word, adapter=None, max_new_tokens=30)
        assert got.text == base.target_tokenizer.decode(expected, skip_special_tokens=True)
