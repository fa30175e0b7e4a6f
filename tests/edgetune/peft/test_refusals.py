"""What cannot be imported exactly is refused in one line that names the file and the reason."""

import json
import os
import pickle
import re

import pytest
import torch
from safetensors.torch import load_file, save_file

from edgetune.errors import AdapterError, ConfigError
from edgetune.peft import adapter_from_peft
from edgetune.peft.stored import read_peft

pytest.importorskip("peft")

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"


@pytest.fixture
def damaged(made, copied):
    """`damaged("prefix", num_layers=3)`: a copy of PEFT's folder whose configuration was changed."""

    def change(kind, **values):
        folder = copied(made("llama", kind)[1])
        config = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps({**config, **values}))
        return folder

    return change


def refusal(folder, *rest, error=AdapterError):
    """The message of a refusal; one line that begins with the folder or a file in it."""
    with pytest.raises(error) as caught:
        read_peft(folder, *rest)
    message = str(caught.value)
    assert "\n" not in message and message.startswith(str(folder))
    return message.removeprefix(str(folder))


def saved_tensors(folder, change):
    tensors = load_file(folder / TENSORS)
    save_file({name: x.contiguous() for name, x in change(tensors).items()}, folder / TENSORS)
    return folder


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ("TOKEN_CLS", "edgetune has no token labelling yet"),
        ("QUESTION_ANS", "edgetune has no heads that mark spans"),
        ("FEATURE_EXTRACTION", "not for hidden states"),
        ("DREAMS", "edgetune imports CAUSAL_LM and SEQ_CLS"),
        (None, "edgetune imports CAUSAL_LM and SEQ_CLS"),
    ],
)
def test_other_tasks_are_refused_with_their_reason(task, reason, damaged):
    message = refusal(damaged("prompt", task_type=task))
    assert message.startswith(f"/{CONFIG} has task_type {task!r}: ")
    assert re.search(reason, message)


@pytest.mark.parametrize("kind", ["LORA", "XYZ", None])
def test_other_kinds_are_refused_and_the_known_listed(kind, damaged):
    message = refusal(damaged("prompt", peft_type=kind))
    assert message == (
        f"/{CONFIG} has peft_type {kind!r}; edgetune imports PROMPT_TUNING, P_TUNING, MULTITASK_PROMPT_TUNING, CPT, "
        "PREFIX_TUNING, CARTRIDGE"
    )


def test_a_decoder_with_rows_for_two_sides_is_refused(damaged):
    told = "num_transformer_submodules 2, where CAUSAL_LM has 1"
    assert told in refusal(damaged("prefix", num_transformer_submodules=2))


@pytest.mark.parametrize("value", [None, 0, -1, "5", True, 5.0])
def test_a_number_that_is_none_is_refused(value, damaged):
    assert f"{CONFIG} has num_virtual_tokens {value!r}" in refusal(damaged("prefix", num_virtual_tokens=value))


@pytest.mark.parametrize("kind", ["prompt", "prefix", "multitask"])
def test_another_number_of_virtual_tokens_than_stored_is_refused(kind, damaged):
    message = refusal(damaged(kind, num_virtual_tokens=4))
    assert message.startswith(f"/{TENSORS} holds prompt_embeddings [5, ") and message.endswith("is 4")


def test_a_place_without_an_adapter_is_refused(tmp_path):
    assert "is not a folder; get one of the hub with hf download" in refusal(tmp_path / "nothing")
    assert refusal(tmp_path) == f" is no PEFT adapter: {CONFIG} is missing"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b"{}", b"null"])
def test_a_damaged_configuration_is_refused(content, damaged):
    folder = damaged("prompt")
    (folder / CONFIG).write_bytes(content)
    assert refusal(folder).startswith(f"/{CONFIG} ")


def test_missing_tensors_are_refused(damaged):
    folder = damaged("prompt")
    (folder / TENSORS).unlink()
    assert refusal(folder) == f" is no whole PEFT adapter: {TENSORS} is missing"


class Loaded:
    def __reduce__(self):
        return os._exit, (9,)  # reading this pickle would end the tests


def test_a_pickle_is_refused_unread(damaged):
    folder = damaged("prompt")
    (folder / TENSORS).unlink()
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Loaded()))
    assert refusal(folder).startswith("/adapter_model.bin is a pickle, which can run code when it is read")


@pytest.mark.parametrize("kept", [0, 7, 50, -1])
def test_a_truncated_file_is_refused(kept, damaged):
    folder = damaged("prompt")
    (folder / TENSORS).write_bytes((folder / TENSORS).read_bytes()[:kept])
    assert refusal(folder).startswith(f"/{TENSORS} cannot be read: ")


def test_tensors_of_another_name_are_refused(damaged):
    folder = saved_tensors(damaged("prompt"), lambda t: {"weight": t["prompt_embeddings"]})
    assert refusal(folder) == f"/{TENSORS} lacks prompt_embeddings, which PROMPT_TUNING stores"


def test_tuned_weights_of_the_base_are_refused(damaged):
    folder = saved_tensors(damaged("prompt"), lambda t: {**t, "base_model.lm_head.weight": torch.zeros(2, 2)})
    assert refusal(folder).startswith(f"/{TENSORS} also holds base_model.lm_head.weight: weights of the base")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_no_numbers_are_refused(value, damaged):
    folder = saved_tensors(damaged("prompt"), lambda t: {name: x + value for name, x in t.items()})
    assert refusal(folder).startswith(f"/{TENSORS} is damaged: prompt_embeddings holds values")


def test_whole_numbers_for_values_are_refused(damaged):
    folder = saved_tensors(damaged("prompt"), lambda t: {name: x.long() for name, x in t.items()})
    assert refusal(folder).startswith(f"/{TENSORS} is damaged")


@pytest.mark.parametrize("task", [-1, 3])
def test_a_task_that_is_not_there_is_refused(task, damaged):
    message = refusal(damaged("multitask"), task, error=ConfigError)
    assert message.endswith(f"holds prompts of 3 tasks; --task-id {task} is not among 0 … 2")


def test_several_tasks_want_a_choice(damaged):
    assert refusal(damaged("multitask"), error=ConfigError).endswith("choose one with --task-id 0 … 2")


def test_a_task_id_for_a_single_task_is_refused(damaged):
    assert "leave --task-id out" in refusal(damaged("prompt"), 0, error=ConfigError)


@pytest.mark.parametrize("name", ["prefix_task_cols", "prefix_task_rows"])
@pytest.mark.parametrize("change", [lambda x: x[:, :1], lambda x: x[:1], lambda x: x[0], lambda x: x[:0]])
def test_task_matrices_that_do_not_fit_are_refused(name, change, damaged):
    folder = saved_tensors(damaged("multitask"), lambda t: {**t, name: change(t[name])})
    assert refusal(folder, 1).startswith(f"/{TENSORS} is damaged: prefix_task_cols")


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("prefix", dict(num_layers=3)),
        ("prefix", dict(num_attention_heads=4)),
        ("prefix", dict(num_attention_heads=3)),
        ("prefix", dict(token_dim=32)),
    ],
)
def test_a_prefix_of_other_shapes_than_the_bases_is_refused(kind, values, damaged, base):
    folder = damaged(kind, **values)
    with pytest.raises(AdapterError, match=f"^{folder}/{TENSORS} does not fit 'tiny-llama': .* 2 layers of 2 x 8$"):
        adapter_from_peft(folder, base("llama"))


def test_a_prefix_for_a_base_of_other_heads_is_refused(made, base):
    with pytest.raises(AdapterError, match=r"does not fit 'tiny-gpt2': .* the base has 2 layers of 4 x 8"):
        adapter_from_peft(made("llama", "prefix")[1], base("gpt2"))


def test_vectors_of_another_size_are_refused(damaged, base):
    folder = saved_tensors(damaged("prompt"), lambda t: {name: x[:, :16] for name, x in t.items()})
    with pytest.raises(AdapterError, match="its vectors have 16 values, the base's embeddings 32"):
        adapter_from_peft(folder, base("llama"))


def test_an_encoder_is_refused(made, base):
    with pytest.raises(AdapterError, match="has task_type CAUSAL_LM, but 'tiny-bert' is an encoder"):
        adapter_from_peft(made("llama", "prompt")[1], base("bert"))


def test_layers_that_peft_leaves_without_a_prefix_are_refused(made, base):
    with pytest.raises(AdapterError, match=r"adapter_config.json .* PEFT gives no prefix to layers 0, 2 of "):
        adapter_from_peft(made("gemma4-wider", "prefix")[1], base("gemma4-wider"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (dict(base_model_name_or_path=None), "names no base model: give --model"),
        (dict(base_model_name_or_path=""), "names no base model: give --model"),
        (dict(revision="abc123"), "asks for revision 'abc123' of .* as --model"),
    ],
)
def test_a_base_that_cannot_be_told_is_asked_for(values, message, damaged):
    stored = read_peft(damaged("prompt", **values))
    with pytest.raises(ConfigError, match=message):
        _ = stored.base_name
