"""What a base is told apart by, and which models are refused."""

import pytest
import torch
import transformers
from jaxtyping import TypeCheckError

from edgetune.errors import ConfigError, UnsupportedModelError
from edgetune.methods.head import pooled
from edgetune.models.base import LayerShape, base_from, load_base, task_named

from ..tiny import DECODERS, ENCODERS, EOS, GROUPED, IDS, PAD, SEP, SHAPE, base_of, model_of, saved, tokenizer_of


def test_shapes_in_signatures_are_checked_while_the_tests_run():
    with pytest.raises(TypeCheckError):
        pooled(torch.zeros(2, 3, 4), torch.ones(2, 5, dtype=torch.int64), "mean")


def test_shapes_kind_and_roles_are_read_off_the_model(base):
    llama, bert, albert, gpt2 = (base(x) for x in ("llama", "bert", "albert", "gpt2"))
    assert llama.layers == (LayerShape(2, 8), LayerShape(2, 8)) and llama.kind == "decoder"
    assert bert.layers == (LayerShape(4, 8), LayerShape(4, 8)) and bert.kind == "encoder"
    assert (albert.embedding_size, albert.hidden_size) == (16, 32)
    assert (bert.separator, bert.takes_token_types) == (SEP, True)
    assert not gpt2.takes_token_types, "GPT-2 would look token types up as words"
    assert (llama.eos_token_ids, llama.pad_token_id, llama.max_positions, llama.vocab_size) == ((EOS,), PAD, 64, 64)
    assert llama.parameters == sum(p.numel() for p in llama.model.parameters())


@pytest.mark.parametrize("family", [*DECODERS, *ENCODERS])
def test_a_base_is_frozen_and_in_evaluation_mode(base, family):
    assert not base(family).model.training
    assert not any(p.requires_grad for p in base(family).model.parameters())


@pytest.mark.parametrize("name, model", [
    ("convbert", lambda: transformers.ConvBertModel(transformers.ConvBertConfig(**SHAPE))),
    ("fnet", lambda: transformers.FNetModel(transformers.FNetConfig(**SHAPE))),
])  # fmt: skip
def test_a_family_without_the_attention_interface_is_refused_by_name(name, model):
    with pytest.raises(UnsupportedModelError, match=f"'{name}' does not route its attention"):
        base_from(model(), None, "some/model", "classify")


def test_a_decoder_without_the_attention_interface_is_refused_by_name():
    model = transformers.XGLMForCausalLM(transformers.XGLMConfig(vocab_size=64, d_model=32, ffn_dim=48, num_layers=2,
                                                                 attention_heads=4))  # fmt: skip
    with pytest.raises(UnsupportedModelError, match="'xglm' does not route its attention"):
        base_from(model, None, "some/model", "generate")


def test_a_state_that_no_cache_of_keys_holds_is_refused():
    config = transformers.Lfm2Config(layer_types=["conv", "full_attention"], **GROUPED)
    with pytest.raises(UnsupportedModelError, match="'lfm2' keep a state besides keys and values"):
        base_from(transformers.Lfm2ForCausalLM(config), None, "some/model", "generate")


def test_a_mask_of_the_models_own_is_refused():
    model = transformers.DogeForCausalLM(transformers.DogeConfig(**GROUPED))
    with pytest.raises(UnsupportedModelError, match="DogeAttention makes an attention mask of its own"):
        base_from(model, None, "some/model", "generate")


def test_a_text_tower_without_an_output_head_is_read_like_an_encoder():
    tower = transformers.CLIPTextModel(transformers.CLIPTextConfig(**SHAPE, **IDS))
    base = base_from(tower, None, "some/tower", "classify")
    assert (base.kind, base.takes_vectors, len(base.layers)) == ("encoder", False, 2)
    with pytest.raises(UnsupportedModelError, match="is a decoder; --task classify needs an encoder"):
        base_from(model_of("llama").model, None, "some/llama", "classify")


BART = dict(d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4,
            encoder_ffn_dim=48, decoder_ffn_dim=48, vocab_size=64, max_position_embeddings=64)  # fmt: skip
T5 = dict(d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, vocab_size=64)


@pytest.mark.parametrize("model", [
    lambda: transformers.BartForConditionalGeneration(transformers.BartConfig(**BART)),
    lambda: transformers.T5ForConditionalGeneration(transformers.T5Config(**T5)),
])  # fmt: skip
def test_an_encoder_decoder_does_not_classify(model, tmp_path):
    made = model()
    made.save_pretrained(tmp_path)
    tokenizer_of("encoder").save_pretrained(tmp_path)
    with pytest.raises(
        UnsupportedModelError, match=f"\\({made.config.model_type}\\) is an encoder-decoder, which generates"
    ):
        load_base(str(tmp_path), "classify")


@pytest.mark.parametrize("family, task, told", [
    ("llama", "classify", "'tiny' \\(llama\\) is a decoder; --task classify needs an encoder"),
    ("bert", "generate", "'tiny' \\(bert\\) is an encoder; --task generate needs a decoder"),
])  # fmt: skip
def test_a_base_of_the_wrong_kind_is_refused(family, task, told):
    with pytest.raises(UnsupportedModelError, match=told):
        base_from(model_of(family), None, "tiny", task)


@pytest.mark.parametrize("family, task", [("llama", "classify"), ("bert", "generate")])
def test_a_checkpoint_of_the_wrong_kind_is_refused(family, task, tmp_path):
    with pytest.raises(UnsupportedModelError, match=f"--task {task} needs"):
        load_base(str(saved(base_of(family), tmp_path)), task)


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(ConfigError, match="cannot load the base model") as caught:
        load_base(str(tmp_path), "classify")
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("name, task", [
    ("classify", "classify"), ("text-classification", "classify"), ("sequence-classification", "classify"),
    ("generate", "generate"), ("text-generation", "generate"), ("causal-lm", "generate"),
    ("text-generation-with-past", "generate"), ("text2text-generation", "generate"), ("seq2seq-lm", "generate"),
    ("token-classification", "tag"),
])  # fmt: skip
def test_a_task_is_known_by_its_synonyms(name, task):
    assert task_named(name) == task


@pytest.mark.parametrize("name", ["translate", "image-classification", "", "Classify"])
def test_an_unknown_task_lists_the_known_ones(name):
    with pytest.raises(ConfigError, match="choose classify or tag or regress or generate"):
        task_named(name)
