"""Makes the signatures that runtimes of every language must take or refuse: python tests/golden/signatures.py

`signatures.json` holds public keys in PEM by name, and cases: the trusted `keys`; a golden `bundle`, of which the files
that its manifest lists were signed, or a `file`; the text of the `signature`, null where there is none; and `expected`:
null, or the name of the error. The signatures that are taken are model_signing's own; private keys are thrown away.
"""

from __future__ import annotations

import base64
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

sys.path.insert(0, str(Path(__file__).parents[1]))
from references.signing import Key, altered, statement_of

GOLDEN = Path(__file__).parent
BUNDLES = ("encoder-shared", "decoder-shared")
ADAPTER = "decoder-shared/adapters/seven.safetensors"
OTHER_ADAPTER = "decoder-shared/adapters/three.safetensors"


def signed_bundle(name: str, key: Key, folder: Path) -> str:
    """By model_signing, over the files that belong to the bundle."""
    place = folder / name
    shutil.copytree(GOLDEN / name, place, ignore=shutil.ignore_patterns("expected.json", "options.json", "*.sig"))
    text = key.sign(place).read_text("utf-8")
    shutil.rmtree(place)
    return text


def signed_file(name: str, key: Key, folder: Path) -> str:
    path = Path(shutil.copy(GOLDEN / name, folder))
    return key.sign(path).read_text("utf-8")


def with_value(text: str, path: tuple[str | int, ...], value: Any) -> str:
    """The signature with another value at a path of keys; None: without it."""
    made = altered(json.loads(text), path, value)
    return json.dumps(made, separators=(",", ":"))


def twin(text: str) -> str:
    """The same signature with a bit of its base64 that stands for nothing."""
    made = json.loads(text)["dsseEnvelope"]["signatures"][0]["sig"]
    body, fill = made.rstrip("="), made[len(made.rstrip("=")) :]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = body[:-1] + alphabet[alphabet.index(body[-1]) + 1] + fill
    assert base64.b64decode(other) == base64.b64decode(made) and fill
    return with_value(text, ("dsseEnvelope", "signatures", 0, "sig"), other)


def other_der(text: str) -> str:
    """The same signature, its first number with a zero too many in front."""
    der = base64.b64decode(json.loads(text)["dsseEnvelope"]["signatures"][0]["sig"])
    longer = bytes([der[0], der[1] + 1, der[2], der[3] + 1, 0]) + der[4:]
    return with_value(text, ("dsseEnvelope", "signatures", 0, "sig"), base64.b64encode(longer).decode())


def cases_of(keys: dict[str, Key], folder: Path) -> list[dict[str, Any]]:
    release, following = keys["release"], keys["next"]
    made: list[dict[str, Any]] = []

    def case(name: str, trusted: list[str], signature: str | None, error: str | None, **of: str) -> None:
        made.append({"name": name, "keys": trusted, **of, "signature": signature, "expected": error})

    for bundle in BUNDLES:
        for name, key in keys.items():
            text = signed_bundle(bundle, key, folder)
            case(f"signed with {name}", [name], text, None, bundle=bundle)
            others = [x for x in keys if x != name]
            case(f"signed with {name}, which is not trusted", others, text, "SignatureError", bundle=bundle)
        case("not signed", ["release"], None, "SignatureError", bundle=bundle)
    for name, key in keys.items():
        case(f"signed with {name}", [name], signed_file(ADAPTER, key, folder), None, file=ADAPTER)
    text = signed_file(ADAPTER, release, folder)
    while not json.loads(text)["dsseEnvelope"]["signatures"][0]["sig"].endswith("="):  # its length is chance
        text = signed_file(ADAPTER, release, folder)
    case("of several keys", list(keys), text, None, file=ADAPTER)
    loose = json.dumps(json.loads(text), indent=1, sort_keys=True)
    case("with white space and another order", ["release"], loose, None, file=ADAPTER)
    new = signed_file(ADAPTER, following, folder)
    case("before the keys are rotated", ["release"], new, "SignatureError", file=ADAPTER)
    case("while the keys are rotated", ["release", "next"], new, None, file=ADAPTER)
    case("after the keys are rotated", ["next"], text, "SignatureError", file=ADAPTER)
    refused = {
        "of another file": signed_file(OTHER_ADAPTER, release, folder),
        "of a folder": signed_bundle("decoder-shared", release, folder),
        "with the hint of another key": with_value(text, ("verificationMaterial", "publicKey", "hint"), following.hint),
        "of another key with this one's hint": with_value(
            new, ("verificationMaterial", "publicKey", "hint"), release.hint
        ),
        "with a payload of another type": with_value(text, ("dsseEnvelope", "payloadType"), "text/plain"),
        "with a key's name": with_value(text, ("dsseEnvelope", "signatures", 0, "keyid"), "mine"),
        "with an entry of a log": with_value(text, ("verificationMaterial", "tlogEntries"), [{}]),
        "with more in it": with_value(text, ("more",), 1),
        "with less in it": with_value(text, ("verificationMaterial", "tlogEntries"), None),
        "of another media type": with_value(text, ("mediaType",), "application/json"),
        "with a key of JSON twice": text.replace("{", '{"mediaType":"application/json",', 1),
        "with an escape": text.replace("mediaType", "\\u006dediaType"),
        "with other bits behind its base64": twin(text),
        "with a number of another form": other_der(text),
        "with a byte order mark": "\ufeff" + text,
        "with a space in its base64": text.replace('"payload":"', '"payload":" '),
        "cut": text[:-1],
        "empty": "",
        "no object": "[]",
        "nothing": "null",
    }
    data = {".": (GOLDEN / ADAPTER).read_bytes()}
    good = statement_of(data)
    two = statement_of({**data, "more": b""})
    row = good["predicate"]["resources"][0]
    changed = {
        "of the format of 2024": {**good, "predicateType": "https://model_signing/Digests/v0.1"},
        "of another statement": {**good, "_type": "https://in-toto.io/Statement/v0.1"},
        "of pieces of files": {**good, "predicate": {**good["predicate"], "serialization": {"method": "shards"}}},
        "with another hash function": {
            **good,
            "predicate": {**good["predicate"], "resources": [{**row, "algorithm": "blake3"}]},
        },
        "of a file twice": {**good, "predicate": {**good["predicate"], "resources": [row, row]}},
        "of a file and more": two,
        "of nothing": statement_of({}),
        "with another hash of all": {**good, "subject": [{"name": "x", "digest": {"sha256": "00" * 32}}]},
        "of two models": {**good, "subject": good["subject"] * 2},
        "of a list": [],
    }
    refused |= {name: json.dumps(release.sign_statement(statement)) for name, statement in changed.items()}
    case(
        "made by hand as model_signing does", ["release"], json.dumps(release.sign_statement(good)), None, file=ADAPTER
    )
    for name, signature in refused.items():
        case(name, ["release"], signature, "SignatureError", file=ADAPTER)
    graph = "model.onnx"
    files = json.loads((GOLDEN / "encoder-shared" / "bundle.json").read_bytes())["files"]
    listed = {x: (GOLDEN / "encoder-shared" / x).read_bytes() for x in [*files, "bundle.json"]}
    for name, given in {
        "without the graph": {x: y for x, y in listed.items() if x != graph},
        "with another graph": {**listed, graph: b"another"},
        "with another manifest": {**listed, "bundle.json": b"{}"},
        "without the manifest": {x: y for x, y in listed.items() if x != "bundle.json"},
        "of the manifest as a single file": {".": listed["bundle.json"]},
    }.items():
        text = json.dumps(release.sign_statement(statement_of(given)))
        case(name, ["release"], text, "SignatureError", bundle="encoder-shared")
    return made


def make(path: Path) -> None:
    """Writes all of it, with new keys."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keys = {
            "release": Key(folder, "release"),
            "next": Key(folder, "next", ec.SECP384R1()),
            "wide": Key(folder, "wide", ec.SECP521R1()),
        }
        cases = cases_of(keys, folder)
    rows = ",\n".join(json.dumps(x, ensure_ascii=False) for x in cases)
    pems = json.dumps({name: key.pem.decode() for name, key in keys.items()}, indent=1)
    path.write_text(f'{{"keys": {pems},\n"cases": [\n{rows}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    make(GOLDEN / "signatures.json")
