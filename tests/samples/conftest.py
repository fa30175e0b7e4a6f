"""Bundles for the samples, made in seconds from tiny random models."""

from pathlib import Path

import pytest
import torch
from boundaries import tiny_models
from edgetune_export.bundle import export_bundle

from edgetune.adapter import Adapter, adapter_from
from edgetune.methods.head import LinearHead
from edgetune.methods.prefix import Prefix
from edgetune.methods.prompt import Prompt
from edgetune.methods.tuned import Tuned
from edgetune.models.base import Base, base_from, load_base

STORIES = Path(__file__).parents[3] / "shared" / "models" / "stories260K-hf"
LABELS = ("delivery", "refund", "thanks")


def classifier(base: Base) -> Adapter:
    """A prompt with a head that tells texts apart, though at random."""
    random, head = torch.Generator().manual_seed(0), LinearHead(base.hidden_size, len(LABELS))
    torch.nn.init.normal_(head.weight, generator=random)
    prompt = Prompt(torch.randn(3, base.embedding_size, generator=random))
    return adapter_from(Tuned(base, prompt, head), task="classify", method="prompt", labels=LABELS)


def voice(base: Base, seed: int) -> Adapter:
    """A random prefix."""
    random = torch.Generator().manual_seed(seed)
    shapes = [(layer.key_value_heads, 4, layer.head_size) for layer in base.layers]
    prefix = Prefix([(torch.randn(shape, generator=random), torch.randn(shape, generator=random)) for shape in shapes])
    return adapter_from(Tuned(base, prefix), task="generate", method="prefix")


@pytest.fixture(scope="session")
def intents(tmp_path_factory):
    """A classifier's bundle."""
    base = base_from(*tiny_models.encoder(), "tiny-bert", "classify")
    return export_bundle(base, {"topic": classifier(base)}, tmp_path_factory.mktemp("intents") / "bundle").path


@pytest.fixture(scope="session")
def voices(tmp_path_factory):
    """A generator's bundle with two adapters, `calm` being the default."""
    base = base_from(*tiny_models.decoder(), "tiny-llama", "generate")
    adapters = {"calm": voice(base, 1), "loud": voice(base, 2)}
    return export_bundle(base, adapters, tmp_path_factory.mktemp("voices") / "bundle").path


@pytest.fixture(scope="session")
def stories(tmp_path_factory):
    """stories260K, the base alone: a real model, beside the checkout where this project is made."""
    if not STORIES.is_dir():
        pytest.skip(f"no stories260K here: {STORIES} does not exist")
    base = load_base(str(STORIES), "generate")
    return export_bundle(base, {}, tmp_path_factory.mktemp("stories") / "bundle").path
