"""Signatures made by model_signing, OpenSSF's own library, and by hand: of statements that it would not write."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from model_signing import hashing, signing

SUBJECT = serialization.PublicFormat.SubjectPublicKeyInfo
HASHES = {256: hashes.SHA256, 384: hashes.SHA384, 521: hashes.SHA512}
TYPE = "application/vnd.in-toto+json"


class Key:
    """A new key pair, its halves as PEM files in `folder`."""

    def __init__(self, folder: Path, name: str = "signer", curve: ec.EllipticCurve | None = None):
        self.private = ec.generate_private_key(curve or ec.SECP256R1())
        self.path, self.public = folder / f"{name}.key", folder / f"{name}.pub"
        self.path.write_bytes(
            self.private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        self.pem = self.private.public_key().public_bytes(serialization.Encoding.PEM, SUBJECT)
        self.public.write_bytes(self.pem)
        self.hint = hashlib.sha256(self.pem).hexdigest()

    def sign(self, path: Path, *, ignored: tuple[str, ...] = ()) -> Path:
        """The signature of a folder, or of a file, by model_signing, where users expect it."""
        place = path / "model.sig" if path.is_dir() else path.with_name(f"{path.name}.sig")
        paths: list[Any] = ["model.sig", *ignored]
        config = signing.Config().use_elliptic_key_signer(private_key=self.path)
        config.set_hashing_config(hashing.Config().set_ignored_paths(paths=paths)).sign(path, place)
        return place

    def sign_statement(self, statement: Any, payload_type: str = TYPE) -> dict[str, Any]:
        """A signature's JSON over any statement."""
        payload = statement if isinstance(statement, bytes) else json.dumps(statement).encode()
        message = f"DSSEv1 {len(payload_type)} {payload_type} {len(payload)} ".encode() + payload
        made = self.private.sign(message, ec.ECDSA(HASHES[self.private.curve.key_size]()))
        return {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": self.hint}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": payload_type,
                "signatures": [{"sig": base64.b64encode(made).decode(), "keyid": ""}],
            },
        }


def statement_of(files: dict[str, bytes], **changes: Any) -> dict[str, Any]:
    """What model_signing signs of such files, written out by hand."""
    digests = {name: hashlib.sha256(data) for name, data in sorted(files.items())}
    root = hashlib.sha256(b"".join(x.digest() for x in digests.values())).hexdigest()
    predicate = {
        "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False},
        "resources": [{"name": x, "algorithm": "sha256", "digest": y.hexdigest()} for x, y in digests.items()],
    }
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "any", "digest": {"sha256": root}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": predicate,
        **changes,
    }


def altered(made: Any, path: Sequence[str | int], value: Any) -> Any:
    """A copy of a decoded signature with another value at a path of keys; None: without it."""
    made = copy.deepcopy(made)
    inner = made
    for step in path[:-1]:
        inner = inner[step]
    if value is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return made
