"""Encoder–decoders are trained: prompt to the encoder, completion from the decoder, a prefix in three places."""

import functools
import json

import pytest
import torch
from references.pairs import EOS, PAIRS, VOCAB, pair_base

from edgetune.adapter import load_adapter, tuned_from
from edgetune.config import TrainConfig
from edgetune.data.rows import Conversation, PromptCompletion
from edgetune.errors import ConfigError, DataError
from edgetune.methods.start import starting_soft
from edgetune.methods.tuned import Tuned
from edgetune.training import parts as parts_of
from edgetune.training.batches import batch_of
from edgetune.training.learner import joint_gradient
from edgetune.training.loop import learned
from edgetune.training.objective import loss, measured
from edgetune.training.pairs import pair_examples
from edgetune.training.result import train_into

cached_base = functools.cache(pair_base)
ROWS = [
    PromptCompletion(f"w{4 + i} w{40 + i % 7}", f"w{20 + i % 3} w{30 + i % 2} w50"[: 7 + 4 * (i % 2)])
    for i in range(24)
]


@pytest.fixture(params=list(PAIRS))
def base(request):
    return cached_base(request.param)


def tuned_of(base, **options):
    config = TrainConfig(task="generate", virtual_tokens=4, **options)
    return Tuned(base, starting_soft(base, config, (), torch.Generator().manual_seed(0)))


def test_the_decoder_begins_with_the_start_token_and_ends_with_the_end_token():
    bart = cached_base("BART")
    (example,) = pair_examples(bart, [PromptCompletion("w9 w10", "w11 w12")], None, "rows")
    assert (example.input_ids, example.targets) == ([9, 10, EOS], (11, 12, EOS))
    assert example.decoder_ids == (bart.places.beginning.start, 11, 12)


def test_the_loss_is_what_transformers_computes_from_labels(base):
    """`labels` shifted by the model itself, padding left out by -100."""
    examples = pair_examples(base, ROWS[:5], None, "rows")
    batch = batch_of(examples, base.pad_token_id)
    width = max(len(e.targets) for e in examples)
    labels = torch.tensor([[*e.targets, *[-100] * (width - len(e.targets))] for e in examples])
    with torch.no_grad():
        expected = base.model(input_ids=batch.input_ids, attention_mask=batch.mask, labels=labels).loss
        got = loss(Tuned(base, None), batch)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_gradients_reach_all_three_places(base):
    tuned = tuned_of(base, method="prefix")
    assert tuned.soft.places == {"encoder": 2, "decoder": 2, "cross": 2}
    loss(tuned, batch_of(pair_examples(base, ROWS[:4], None, "rows"), base.pad_token_id)).backward()
    for parameter in [*tuned.soft.keys, *tuned.soft.values]:
        assert parameter.shape == (4, 4, 16) and parameter.grad.abs().max() > 1e-7


@pytest.mark.parametrize("options", [
    dict(method="prompt"), dict(method="prefix"), dict(method="prefix", reparameterise="mlp"),
    dict(method="prompt", reparameterise="lstm"), dict(method="prefix", prefix_places="cross", init="random"),
])  # fmt: skip
def test_training_reduces_the_loss_and_the_adapter_keeps_it(base, options, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"prompt": r.prompt, "completion": r.completion}) + "\n" for r in ROWS))
    config = TrainConfig(model="m", data=str(rows), eval_data=str(rows), task="generate", virtual_tokens=4, steps=30,
                         batch_size=8, eval_every=30, **options)  # fmt: skip
    before = measured(tuned_of(base, **options), pair_examples(base, ROWS, None, "rows"))["loss"]
    _, outcome = train_into(tmp_path / "out", config, base=base)
    assert outcome.metrics["loss"] < before - 0.1
    adapter = load_adapter(tmp_path / "out")
    again = measured(tuned_from(base, adapter), pair_examples(base, ROWS, None, "rows"))["loss"]
    assert again == pytest.approx(outcome.metrics["loss"], abs=1e-5)
    assert adapter.virtual_tokens == 4 and adapter.tokens == {"eos": [EOS]}


def test_a_prefix_is_named_by_its_places(base):
    names = {place: set(starting_names(base, place)) for place in ("encoder", "decoder,cross")}
    assert names["encoder"] == {f"encoder.past_key_values.{i}.{x}" for i in (0, 1) for x in ("key", "value")}
    assert names["decoder,cross"] == {
        f"past_key_values.{i}.{side}.{x}" for i in (0, 1) for side in ("decoder", "encoder") for x in ("key", "value")
    }


def starting_names(base, places):
    from edgetune.adapter import adapter_from

    return adapter_from(tuned_of(base, method="prefix", prefix_places=places), task="generate", method="prefix").tensors


@pytest.mark.parametrize("given", ["", "encoder,middle", ","])
def test_an_unknown_place_lists_the_known_ones(given):
    with pytest.raises(ConfigError, match="give one or more of encoder,decoder,cross"):
        TrainConfig(prefix_places=given)


def test_places_are_for_a_prefix_alone():
    with pytest.raises(ConfigError, match="--prefix-places is for the prefix of an encoder-decoder"):
        tuned_of(cached_base("T5"), method="prompt", prefix_places="encoder")


def test_a_chat_is_refused_with_its_line():
    chat = Conversation(({"role": "assistant", "content": "w4"},), line=3)
    with pytest.raises(DataError, match=r"rows:3: .* is an encoder-decoder; give prompt and completion"):
        pair_examples(cached_base("T5"), [chat], None, "rows")


@pytest.mark.parametrize("prompt, completion, what", [("w9 " * 9, "w9", "prompt"), ("w9", "w9 " * 9, "completion")])
def test_what_does_not_fit_is_named_with_its_line(prompt, completion, what):
    with pytest.raises(DataError, match=f"rows:7: the {what} has 10 tokens"):
        pair_examples(cached_base("BART"), [PromptCompletion(prompt, completion, line=7)], 9, "rows")


def test_the_target_tokenizer_beside_a_checkpoint_writes_completions(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers

    from edgetune.models.base import load_base

    own = Tokenizer(models.WordLevel({"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "ja": VOCAB - 1}, unk_token="<unk>"))
    own.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    bart = cached_base("BART")
    bart.model.save_pretrained(tmp_path)
    bart.tokenizer.save_pretrained(tmp_path)
    own.save(str(tmp_path / "target_tokenizer.json"))
    (example,) = pair_examples(load_base(str(tmp_path), "generate"), [PromptCompletion("w9", "ja")], None, "rows")
    assert (example.input_ids, example.targets) == ([9, EOS], (VOCAB - 1, EOS))


def test_a_step_in_parts_is_that_of_the_whole_batch(base, monkeypatch):
    rows = [
        PromptCompletion("w9 w12 " * (1 + i % 2), " ".join(f"w{9 + j}" for j in range(1 + i % 4))) for i in range(7)
    ]
    examples, found = pair_examples(base, rows, None, "rows"), {}
    for tokens in (1000, 12):
        monkeypatch.setitem(parts_of.TOKENS, "cpu", tokens)
        tuned = tuned_of(base)
        batches = [batch_of(part, base.pad_token_id) for part in parts_of.parts(examples, "cpu")]
        value = joint_gradient(tuned, batches)
        found[tokens] = value, torch.cat([p.grad.flatten() for p in learned(tuned)])
    assert len(batches) > 2
    assert found[12][0] == pytest.approx(found[1000][0], rel=1e-5)
    largest = found[1000][1].abs().max().item()
    assert torch.allclose(found[12][1], found[1000][1], rtol=1e-4, atol=1e-5 * largest)
