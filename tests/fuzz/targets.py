"""What is fuzzed: every place where somebody else's bytes are read, each a function that may raise our errors alone."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from edgetune_runtime import EdgetuneError
from edgetune_runtime import load as load_bundle
from edgetune_runtime.chat_template import ChatTemplate
from edgetune_runtime.checked import Fields
from edgetune_runtime.errors import SignatureError
from edgetune_runtime.external_data import external_files
from edgetune_runtime.manifest import read_manifest
from edgetune_runtime.messages import opening, shortened
from edgetune_runtime.signature import statement_from
from edgetune_runtime.signed_files import verify
from edgetune_runtime.stopping import StopStrings
from edgetune_runtime.stored_adapter import read_adapter
from edgetune_runtime.stored_conversation import digest_of, read_conversation
from edgetune_runtime.stored_versions import read_versions
from edgetune_runtime.tokenizer import Tokenizer, read_tokenizer
from edgetune_runtime.trusted_keys import trusted_keys_from
from references.chat_templates import TEMPLATES
from references.control_tokens import CHATML, CONTROL, MADE, made
from safetensors.numpy import load, save
from seeds import CASE, GOLDEN, MESSAGES, RECORDED, SEEDS, SIGNED

FOLDER = Path(tempfile.mkdtemp(prefix="edgetune-fuzz-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
MANIFEST = read_manifest(GOLDEN / "decoder-shared")
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


@dataclass(frozen=True)
class Target:
    """One reader."""

    run: Callable[[bytes], object]
    seeds: list[bytes]
    turn: int = 200
    """Inputs that take some tenths of a second."""


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


def archive(data: bytes) -> None:
    """An archive, in the place of a bundle and of each file that is read: none is unpacked, whatever is in it."""
    path = FOLDER / "bundle.zip"
    path.write_bytes(data)
    before = sorted(os.listdir(FOLDER))
    for read in (lambda: load_bundle(path), *(lambda x=x: x(data) for x in PACKED)):
        with suppress(EdgetuneError):
            read()
    assert sorted({*os.listdir(FOLDER)} - {*NAMES}) == sorted({*before} - {*NAMES}), "something was unpacked"


PACKED = (manifest, adapter, tokenizer_file, conversation, versions)
NAMES = ("bundle.json", "adapter.safetensors", "tokenizer.json", "chat.safetensors", "store")


def graph(data: bytes) -> None:
    """An ONNX graph: every file that the onnx package finds named in it is found by the reader."""
    path = FOLDER / "model.onnx"
    path.write_bytes(data)
    try:
        found = external_files(path)
    except (ValueError, OSError, RecursionError):  # what `check_external_data` refuses
        return
    assert named_files(data) <= found, "a file is named that the reader does not find"


def named_files(data: bytes) -> set[str]:
    """Files that tensors lie in, as the onnx package reads the graph; none where it cannot."""
    try:
        model = onnx.load_model_from_string(data)
    except Exception:  # protobuf has its own
        return set()
    tensors, graphs = [], [model.graph]
    nodes = [node for function in model.functions for node in function.node]
    attributes = [x for function in model.functions for x in function.attribute_proto]
    while graphs or nodes or attributes:
        for x in graphs:
            tensors += [*x.initializer, *(y for s in x.sparse_initializer for y in (s.values, s.indices))]
            nodes += x.node
        graphs = []
        attributes += [x for node in nodes for x in node.attribute]
        nodes = []
        for x in attributes:
            tensors += [
                x.t,
                *x.tensors,
                *(y for s in (x.sparse_tensor, *x.sparse_tensors) for y in (s.values, s.indices)),
            ]
            graphs += [x.g, *x.graphs] if x.HasField("g") else [*x.graphs]
        attributes = []
    said = [{entry.key: entry.value for entry in x.external_data} for x in tensors]
    return {x["location"] for x in said if "location" in x}


KEYS = [RECORDED["keys"][x] for x in CASE["keys"]]
(KEY,) = trusted_keys_from(KEYS)
TAKEN = verify(SIGNED, KEYS, signature=CASE["signature"].encode())


def signature(data: bytes) -> None:
    """A signature's file: one that is taken says what the real one says. And what a key might have signed."""
    with suppress(SignatureError):
        assert verify(SIGNED, KEYS, signature=data).files == TAKEN.files, "another statement was taken"
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(said, dict):
        statement_from(Fields(said, "signature", SignatureError), KEY)


READERS = {
    "manifest": (manifest, 400), "adapter": (adapter, 400), "tokenizer": (tokenizer_file, 20), "text": (text, 100),
    "chat_template": (chat_template, 40), "messages": (messages, 1000), "stop_strings": (stop_strings, 2000),
    "conversation": (conversation, 300), "versions": (versions, 400), "archive": (archive, 100), "graph": (graph, 400),
    "signature": (signature, 400),
}  # fmt: skip
TARGETS = {name: Target(run, SEEDS[name], turn) for name, (run, turn) in READERS.items()}

ALLOWED: tuple[Any, ...] = (EdgetuneError,)
