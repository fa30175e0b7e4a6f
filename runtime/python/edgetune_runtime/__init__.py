"""Run prompt-tuned and prefix-tuned language models on the device: many tasks on one ONNX base.

>>> model = edgetune_runtime.load("bundle")
>>> model.classify("I want my money back").label
>>> model.generate("Once upon a time", max_new_tokens=20).text
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .ensemble import Ensemble
from .errors import (
    AdapterError,
    BaseMismatchError,
    BundleError,
    ContextLengthError,
    ConversationError,
    EdgetuneError,
    InputError,
    MemoryLimitError,
    MissingExtraError,
    OptionError,
    SignatureError,
    TaskError,
)
from .results import (
    AdapterInfo,
    Chunk,
    Classification,
    Generation,
    Regression,
    Score,
    Span,
    Tagging,
    Timing,
    TokenLogprob,
)

if TYPE_CHECKING:
    from .conversation import Conversation as Conversation
    from .inputs import DEFAULT as DEFAULT
    from .loading import load as load
    from .model import Model as Model
    from .signed_files import verify as verify
    from .store import AdapterStore as AdapterStore

__version__ = "0.1.0"

__all__ = [
    "DEFAULT",
    "AdapterError",
    "AdapterInfo",
    "AdapterStore",
    "BaseMismatchError",
    "BundleError",
    "Chunk",
    "Classification",
    "ContextLengthError",
    "Conversation",
    "ConversationError",
    "EdgetuneError",
    "Ensemble",
    "Generation",
    "InputError",
    "MemoryLimitError",
    "MissingExtraError",
    "Model",
    "OptionError",
    "Regression",
    "Score",
    "SignatureError",
    "Span",
    "Tagging",
    "TaskError",
    "Timing",
    "TokenLogprob",
    "load",
    "verify",
]

# numpy and onnxruntime take a quarter of a second to import: not before they are wanted
_LATER = {
    "AdapterStore": "store",
    "load": "loading",
    "Model": "model",
    "DEFAULT": "inputs",
    "Conversation": "conversation",
    "verify": "signed_files",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_LATER[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
