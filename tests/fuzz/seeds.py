"""What every reader's fuzzing begins with: files of the golden bundles, and small ones made here."""

from __future__ import annotations

import base64
import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import onnx
from references.chat_templates import TEMPLATES
from references.control_tokens import CHATML, MADE, made
from safetensors.numpy import save

GOLDEN = Path(__file__).parents[1] / "golden"
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi <|im_end|>"}]
RECORDED = json.loads((GOLDEN / "signatures.json").read_text("utf-8"))
CASE = next(x for x in RECORDED["cases"] if "file" in x and x["expected"] is None)
SIGNED = (GOLDEN / CASE["file"]).read_bytes()
STATEMENT = base64.b64decode(json.loads(CASE["signature"])["dsseEnvelope"]["payload"])
VERSIONS = {"format_version": 1, "kept": [{"version": 1, "sha256": "a" * 64}], "highest": 1}
ADAPTERS = ("decoder-shared/adapters/*.safetensors", "methods/decoder/adapters/*.safetensors")
TEXTS = ("a <|im_end|> b", "</s><unk>", "\u05e9\u05dc \u202e abc", "\U0001f642\u00e9\x00", "<|im_st")


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


def archives() -> list[bytes]:
    """A bundle's files in a zip, in a tar with a path that leads out of it, and much of nothing in little."""
    zipped, tarred = io.BytesIO(), io.BytesIO()
    inside = {"bundle.json": files("decoder-shared/bundle.json")[0], "../out": b"x", "zeros": bytes(1 << 20)}
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in inside.items():
            file.writestr(name, data)
    with tarfile.open(fileobj=tarred, mode="w:gz") as file:
        for name, data in inside.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            file.addfile(entry, io.BytesIO(data))
    return [zipped.getvalue(), tarred.getvalue(), gzip.compress(inside["bundle.json"])]


def graphs() -> list[bytes]:
    """A golden graph without its weights, and small ones whose weights lie elsewhere."""
    tensor = onnx.TensorProto(name="w", dims=[4], data_type=1, data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="w.bin")
    constant = onnx.helper.make_node("Constant", [], ["w"], value=tensor)
    x, y = (onnx.helper.make_tensor_value_info(name, 1, [4]) for name in "xy")
    add = onnx.helper.make_node("Add", ["x", "w"], ["y"])
    made = [
        onnx.helper.make_graph([add], "g", [x], [y], [tensor]),
        onnx.helper.make_graph([constant, add], "g", [x], [y]),
    ]
    inner = onnx.helper.make_node("If", ["x"], ["y"], then_branch=made[0], else_branch=made[1])
    made.append(onnx.helper.make_graph([inner], "g", [x], [y]))
    return [onnx.helper.make_model(x).SerializeToString() for x in made]


SEEDS: dict[str, list[bytes]] = {
    "manifest": files("*/bundle.json", "methods/*/bundle.json"),
    "adapter": files(*ADAPTERS),
    "tokenizer": [made(name).to_str().encode() for name in MADE],
    "text": [x.encode() for x in TEXTS],
    "chat_template": [x.encode() for x in (CHATML, *TEMPLATES.values())],
    "messages": [json.dumps(MESSAGES).encode()],
    "stop_strings": [b"ab,bc|a|b|cab|x", "\u00e9,x|a|x|b".encode(), b"</s>|<|/|s|>"],
    "conversation": [saved_conversation()],
    "versions": [json.dumps(VERSIONS).encode()],
    "archive": archives(),
    "graph": graphs(),
    "signature": [CASE["signature"].encode(), STATEMENT],
}
