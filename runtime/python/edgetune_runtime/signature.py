"""A signature in the format of OpenSSF Model Signing: who signed which files, checked against trusted keys.

The file is a Sigstore bundle in JSON. In it is a DSSE envelope, which is what is signed; in that an in-toto statement
with the SHA-256 of each file. What is not signed has one value only, so that a file is accepted in one form, white
space and the order of keys aside.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from .checked import Fields
from .errors import SignatureError
from .trusted_keys import PublicKey

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
MOST_BYTES = 4 << 20
"""Of a signature's file: of tens of thousands of files."""
DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Statement:
    """What a trusted key has signed."""

    name: str
    """What the signer called it: a folder's name, or a file's. Nothing depends on it."""
    files: Mapping[str, str]
    """Path → SHA-256, in hexadecimal; a single file is `"."`."""
    ignored: tuple[str, ...]
    """Paths, and folders with what is in them, of which the signer said nothing."""
    key: PublicKey
    """The trusted key that made it."""


def statement_of(data: bytes, keys: Sequence[PublicKey], where: str) -> Statement:
    """The statement in a signature's bytes, after the signature is found to be one of `keys`.

    `where` is named in errors. Raises SignatureError for what is no signature of this format, was made with another
    key, does not hold, or speaks of anything but whole files and their SHA-256.
    """
    payload, signature, hint = envelope_of(data, where)
    known = [key for key in keys if key.hint == hint]
    if not known:
        trusted = ", ".join(f"{key.hint[:16]}…" for key in keys)
        raise SignatureError(
            f"{where}: was made with the key {hint[:16]}…, which is not trusted (trusted: {trusted}). Do not use this, "
            "unless you know whose key that is: then trust it too."
        )
    message = b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)
    if not known[0].verifies(signature, message):
        raise SignatureError(
            f"{where}: names the trusted key {hint[:16]}…, which did not make it: it was altered. Do not use this."
        )
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise SignatureError(f"{where}: what is signed is not JSON ({error}). Sign again.") from None
    if not isinstance(found, dict):
        raise SignatureError(f"{where}: what is signed is no statement. Sign again.")
    return statement_from(Fields(found, where, SignatureError), known[0])


def envelope_of(data: bytes, where: str) -> tuple[bytes, bytes, str]:
    """What is signed, the signature over it, and the hint of its key; raises SignatureError for another form."""
    if len(data) > MOST_BYTES:
        raise SignatureError(f"{where}: has more than {MOST_BYTES} bytes, and is no signature. Check the path.")
    try:
        text = data.decode("utf-8")
        found = json.loads(text)
        envelope = found["dsseEnvelope"]
        payload, signature = envelope["payload"], envelope["signatures"][0]["sig"]
        hint = found["verificationMaterial"]["publicKey"]["hint"]
        # no string of it has white space; what JSON reads alike, such as a key that is there twice, differs here
        whole = found == form_of(payload, signature, hint) and compact(found) == "".join(text.split())
        if whole and DIGEST.fullmatch(hint):
            return canonical(payload), canonical(signature), hint
    except (ValueError, RecursionError, LookupError, TypeError):
        pass
    raise SignatureError(
        f"{where}: is no signature that a key made in the format of OpenSSF Model Signing. Sign with "
        "`edgetune sign --key`, or `model_signing sign key`."
    )


def form_of(payload: str, signature: str, hint: str) -> dict[str, Any]:
    """All that a signature's file holds."""
    return {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": payload,
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": signature, "keyid": ""}],
        },
    }


def compact(found: Any) -> str:
    """JSON without white space."""
    return json.dumps(found, separators=(",", ":"), ensure_ascii=False)


def canonical(text: str) -> bytes:
    """What base64 stands for; raises ValueError for bits that stand for nothing."""
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError("base64 of another form")
    return data


def statement_from(fields: Fields, key: PublicKey) -> Statement:
    """The statement in decoded JSON, which a trusted key has signed; raises SignatureError for what is not read."""
    fields.exactly("_type", STATEMENT_TYPE)
    fields.exactly("predicateType", PREDICATE_TYPE)
    subjects, predicate = fields.list_of_objects("subject"), fields.object("predicate")
    if len(subjects) != 1:
        raise fields.fail("subject", "one model")
    serialization = predicate.object("serialization")
    serialization.exactly("method", "files")
    serialization.exactly("hash_type", "sha256")
    files: dict[str, str] = {}
    root = hashlib.sha256()
    for resource in predicate.list_of_objects("resources"):
        resource.exactly("algorithm", "sha256")
        name, digest = resource.text("name"), resource.text("digest")
        if not DIGEST.fullmatch(digest):
            raise resource.fail("digest", "a SHA-256 in hexadecimal")
        if name in files:
            raise resource.fail("name", "there once")
        files[name] = digest
        root.update(bytes.fromhex(digest))
    if subjects[0].object("digest").text("sha256") != root.hexdigest():
        raise subjects[0].fail("digest", "that of all files")
    ignored = tuple(serialization.texts("ignore_paths"))
    return Statement(subjects[0].text("name"), MappingProxyType(files), ignored, key)
