"""PEFT itself, the independent reference, on tiny bases: random adapters of every kind, saved as PEFT saves them."""

import functools
import shutil
from pathlib import Path

import pytest
import torch

from edgetune.adapter import tuned_from

from .. import tiny

LENGTH = 5  # more than tiny.WINDOW, so that sliding layers lose part of it
TASKS = 3


def config_of(kind, length=LENGTH):
    peft = pytest.importorskip("peft")
    shared = dict(task_type="CAUSAL_LM", num_virtual_tokens=length)
    if kind == "cpt":
        ids = list(range(10, 10 + length))
        return peft.CPTConfig(task_type="CAUSAL_LM", cpt_token_ids=ids, opt_projection_epsilon=30.0)
    return {
        "prompt": lambda: peft.PromptTuningConfig(**shared),
        "multitask": lambda: peft.MultitaskPromptTuningConfig(num_tasks=TASKS, num_ranks=2, **shared),
        "p_tuning_mlp": lambda: peft.PromptEncoderConfig(encoder_hidden_size=12, **shared),
        "p_tuning_lstm": lambda: peft.PromptEncoderConfig(
            encoder_reparameterization_type="LSTM", encoder_hidden_size=12, **shared
        ),
        "prefix": lambda: peft.PrefixTuningConfig(**shared),
        "prefix_projected": lambda: peft.PrefixTuningConfig(prefix_projection=True, encoder_hidden_size=12, **shared),
        "cartridge": lambda: peft.CartridgeConfig(num_frozen_tokens=1, **shared),
    }[kind]()


@torch.no_grad()
def random_adapter(base, name, kind):
    """PEFT's model, every weight of its encoder random, its base with transformers' eager attention."""
    peft = pytest.importorskip("peft")
    model = tiny.eager(base)
    model.name_or_path = model.config._name_or_path = name
    tuned = peft.get_peft_model(model, config_of(kind)).eval()
    torch.manual_seed(1)
    for weight in tuned.prompt_encoder.parameters():
        weight.normal_(0, 0.5)
    return tuned


@torch.no_grad()
def peft_logits(model, ids, mask=None, task=0):
    """`[B, T, V]` over the text, as PEFT's own forward gives them."""
    multitask = model.active_peft_config.peft_type == "MULTITASK_PROMPT_TUNING"
    extra = {"task_ids": torch.tensor([task] * len(ids))} if multitask else {}
    return model(input_ids=ids, attention_mask=mask, **extra).logits[:, -ids.shape[1] :]


@pytest.fixture(scope="session")
def made(base, folders, tmp_path_factory):
    """`made("llama", "prefix")`: PEFT's model and the folder that it saved."""

    @functools.cache
    def both(family, kind):
        folder = tmp_path_factory.mktemp("peft") / f"{family}-{kind}"
        model = random_adapter(base(family), folders(family), kind)
        model.save_pretrained(folder)
        return model, folder

    return both


@pytest.fixture
def copied(tmp_path):
    """`copied(folder)`: a copy that a test may damage."""
    return lambda folder: Path(shutil.copytree(folder, tmp_path / "copy"))


def our_logits(base, adapter, ids, mask=None):
    """`[B, T, V]` over the text, 0 where the mask is."""
    mask = torch.ones_like(ids) if mask is None else mask
    with torch.no_grad():
        found = tuned_from(base, adapter).token_logits(ids, mask, mask.bool())
    logits = found.new_zeros(*ids.shape, found.shape[-1])
    logits[mask.bool()] = found
    return logits
