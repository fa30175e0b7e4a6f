"""What is fuzzed: every place where somebody else's bytes are read, each a function that may raise our errors alone."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from edgetune_runtime import EdgetuneError
from edgetune_runtime.chat_template import ChatTemplate
from edgetune_runtime.manifest import read_manifest
from edgetune_runtime.messages import opening, shortened
from edgetune_runtime.stopping import StopStrings
from edgetune_runtime.stored_adapter import read_adapter
from edgetune_runtime.stored_conversation import digest_of, read_conversation
from edgetune_runtime.stored_versions import read_versions
from edgetune_runtime.tokenizer import Tokenizer, read_tokenizer
from references.chat_templates import TEMPLATES
from references.control_tokens import CHATML, CONTROL, MADE, made
from safetensors.numpy import load, save

GOLDEN = Path(__file__).parents[1] / "golden"
FOLDER = Path(tempfile.mkdtemp(prefix="edgetune-fuzz-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
MANIFEST = read_manifest(GOLDEN / "decoder-shared")
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi <|im_end|>"}]
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


@dataclass(frozen=True)
class Target:
    """One reader."""

    run: Callable[[bytes], object]
    seeds: list[bytes]
    turn: int = 200
    """Inputs that it takes before the next one's turn: as many as take some tenths of a second."""


def manifest(data: bytes) -> None:
    """`bundle.json`."""
    (FOLDER / "bundle.json").write_bytes(data)
    read_manifest(FOLDER)


def adapter(data: bytes) -> None:
    """An adapter's safetensors file."""
    path = FOLDER / "adapter.safetensors"
    path.write_bytes(data)
    found = read_adapter(path, MANIFEST)
    assert all(np.isfinite(x).all() for x in found.past)


def tokenizer_file(data: bytes) -> None:
    """`tokenizer.json`, and what it makes of a text."""
    path = FOLDER / "tokenizer.json"
    path.write_bytes(data)
    found = read_tokenizer(path)
    found.encode("hello <|im_end|> 7")
    found.encode_filled("<s>" + found.hidden("a</s>"))


TOKENIZERS = [Tokenizer(made(name)) for name in MADE]
CONTROLS = [{x._inner.get_vocab()[name] for name in CONTROL} for x in TOKENIZERS]


def text(data: bytes) -> None:
    """What a user types: no control token comes of it, whoever reads it."""
    given = data.decode("utf-8", "surrogateescape")  # what is no UTF-8 becomes lone surrogates
    which = len(data) % len(TOKENIZERS)
    found, control = TOKENIZERS[which], CONTROLS[which]
    assert control.isdisjoint(found.encode(given, add_special_tokens=False)), "a typed control token controls"
    ids = found.encode_filled(f"a{found.hidden(given)}<|im_end|>", add_special_tokens=False)
    assert sum(i in control for i in ids) == 1, "a typed control token controls in a chat"
    found.encode_with_spans(given, 9)
    found.encode_within((given, given), 9)
    found.decode(found.encode(given))


def chat_template(data: bytes) -> None:
    """Jinja's source, as it comes with a model."""
    ChatTemplate(data.decode("utf-8", "replace"), TOKENS).rendered(MESSAGES)


RENDERERS = [ChatTemplate(x, TOKENS) for x in (CHATML, *TEMPLATES.values())]


def messages(data: bytes) -> None:
    """Messages, rendered and tokenised."""
    try:
        given = json.loads(data)
    except (ValueError, RecursionError):
        return
    said = opening(None, given)
    shortened(said)
    found = TOKENIZERS[len(data) % len(TOKENIZERS)]
    hidden = [{**x, "content": found.hidden(x["content"])} for x in said]
    rendered = RENDERERS[len(data) % len(RENDERERS)].rendered(hidden)
    found.encode_filled(rendered, add_special_tokens=False)


def stop_strings(data: bytes) -> None:
    """A text in pieces: what is given out is the text before the first stop string."""
    first, *pieces = data.decode("utf-8", "replace").split("|")
    stops = tuple(x for x in first.split(",") if x)
    reader, out, stopped = StopStrings(stops), "", False
    for piece in pieces:
        found, stopped = reader.push(piece)
        out += found
        if stopped:
            break
    else:
        out += reader.end() if hasattr(reader, "end") else ""
    whole = "".join(pieces)
    # the one that is whole first
    ends = sorted((whole.find(s) + len(s), whole.find(s)) for s in stops if s in whole)
    places = [start for _, start in ends[:1]]
    if hasattr(reader, "end") or stopped:
        assert out == (whole[: places[0]] if places else whole), (stops, pieces, out)


def conversation(data: bytes) -> None:
    """A conversation that was saved, its digest made anew, since who alters the one can alter the other."""
    path = FOLDER / "chat.safetensors"
    path.write_bytes(with_digest(data))
    read_conversation(path, MANIFEST)


def with_digest(data: bytes) -> bytes:
    """The file with a digest that is right, where it is one."""
    try:
        length = int.from_bytes(data[:8], "little")
        said = json.loads(data[8 : 8 + length])["__metadata__"]
        tensors = load(data)
        said["sha256"] = digest_of(said["edgetune_conversation"], tensors)
        return save(tensors, said)
    except BaseException as error:
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        return data


def versions(data: bytes) -> None:
    """What a store says of itself."""
    folder = FOLDER / "store"
    folder.mkdir(exist_ok=True)
    (folder / "versions.json").write_bytes(data)
    read_versions(folder)


def saved_conversation() -> bytes:
    said = {
        "format_version": 1, "made_with": {"base": "x", "form": "shared", "precision": "fp32", "adapter": "none"},
        "adapter": None, "messages": MESSAGES, "overflow": "refuse", "template": None,
        "options": {"logit_bias": [[3, 0.5]], "max_new_tokens": 4},
    }  # fmt: skip
    tensors = {"token_ids": np.arange(3), "past_key_values.0.key": np.zeros((1, 1, 3, 4), np.float32)}
    return save(tensors, {"edgetune_conversation": json.dumps(said), "sha256": ""})


def files(*patterns: str) -> list[bytes]:
    return [path.read_bytes() for pattern in patterns for path in sorted(GOLDEN.glob(pattern))]


VERSIONS = {"format_version": 1, "kept": [{"version": 1, "sha256": "a" * 64}], "highest": 1}
ADAPTERS = ("decoder-shared/adapters/*.safetensors", "methods/decoder/adapters/*.safetensors")
TEXTS = ("a <|im_end|> b", "</s><unk>", "\u05e9\u05dc \u202e abc", "\U0001f642\u00e9\x00", "<|im_st")
TARGETS: dict[str, Target] = {
    "manifest": Target(manifest, files("*/bundle.json", "methods/*/bundle.json"), 400),
    "adapter": Target(adapter, files(*ADAPTERS), 400),
    "tokenizer": Target(tokenizer_file, [made(name).to_str().encode() for name in MADE], 20),
    "text": Target(text, [x.encode() for x in TEXTS], 100),
    "chat_template": Target(chat_template, [x.encode() for x in (CHATML, *TEMPLATES.values())], 40),
    "messages": Target(messages, [json.dumps(MESSAGES).encode()], 1000),
    "stop_strings": Target(stop_strings, [b"ab,bc|a|b|cab|x", "\u00e9,x|a|x|b".encode(), b"</s>|<|/|s|>"], 2000),
    "conversation": Target(conversation, [saved_conversation()], 300),
    "versions": Target(versions, [json.dumps(VERSIONS).encode()], 400),
}

ALLOWED: tuple[Any, ...] = (EdgetuneError,)
