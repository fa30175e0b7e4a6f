"""What an opened bundle consists of."""

from __future__ import annotations

from dataclasses import dataclass

from .adapter_set import AdapterSet
from .chat_template import ChatTemplate
from .encoder import Encoder
from .engine import ExtendableDecoder
from .manifest import Manifest
from .memory import Memory
from .tokenizer import Tokenizer


@dataclass(frozen=True, eq=False)
class Parts:
    """Of one model; an encoder or a decoder is its engine."""

    manifest: Manifest
    tokenizer: Tokenizer
    adapters: AdapterSet
    memory: Memory
    encoder: Encoder | None = None
    decoder: ExtendableDecoder | None = None
    target_tokenizer: Tokenizer | None = None
    """Of what is generated; None: `tokenizer`."""
    chat_template: ChatTemplate | None = None
    """None: the bundle has none."""
