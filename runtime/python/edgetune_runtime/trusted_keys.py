"""Public keys that signatures are checked with: EC keys on P-256, P-384 or P-521, from PEM."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import MissingExtraError, OptionError

TrustedKey = str | bytes | os.PathLike[str]
"""PEM text, as a string or bytes, or the path of a file of it; with several keys in it, each is trusted."""
BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
CURVES = {"secp256r1": "SHA256", "secp384r1": "SHA384", "secp521r1": "SHA512"}
"""What a signature of each is made over."""
MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class PublicKey:
    """One key. Threads may share it."""

    hint: str
    """The SHA-256 of its PEM, in hexadecimal: how a signature names the key that made it."""
    where: str
    """What messages call it."""
    _key: Any = field(repr=False, compare=False)
    """cryptography's."""

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether the private half of this key made `signature`, in DER, over `message`."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

        try:
            self._key.verify(signature, message, ECDSA(getattr(hashes, CURVES[self._key.curve.name])()))
        except InvalidSignature:
            return False
        return True


def trusted_keys_from(given: TrustedKey | Sequence[TrustedKey]) -> tuple[PublicKey, ...]:
    """The keys that are meant, one or several.

    Raises OptionError, naming the key, for what is no public EC key on a known curve and for an empty list,
    MissingExtraError without cryptography.
    """
    several = [given] if isinstance(given, (str, bytes, os.PathLike)) else list(given)
    if not several:
        raise OptionError("trusted_keys: is empty, so nothing could be trusted. Pass a public key, or leave it out.")
    return tuple(key for i, one in enumerate(several) for key in keys_of(one, f"trusted_keys[{i}]"))


def keys_of(given: TrustedKey, where: str) -> list[PublicKey]:
    """The keys in one text or file; raises as `trusted_keys_from`."""
    if isinstance(given, str) and "-----BEGIN" in given:
        data = given.encode()
    elif isinstance(given, bytes):
        data = given
    elif isinstance(given, (str, os.PathLike)):
        where = str(Path(given))
        data = key_file(where)
    else:
        raise OptionError(f"{where}: is a {type(given).__name__}. Pass PEM text, or the path of a public key.")
    blocks = list(BLOCK.finditer(data))
    if not blocks:
        raise OptionError(f"{where}: holds no key in PEM. Pass the public key that `edgetune keygen` wrote.")
    return [public_key(block[0] + b"\n", block[1].decode(), where) for block in blocks]


def key_file(where: str) -> bytes:
    """The bytes of a file of keys; raises OptionError."""
    try:
        with open(where, "rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise OptionError(f"{where}: the key cannot be read ({error.strerror or error}). Check the path.") from error
    if len(data) > MOST_BYTES:
        raise OptionError(f"{where}: has more than {MOST_BYTES} bytes, so it is no public key. Check the path.")
    return data


def public_key(pem: bytes, kind: str, where: str) -> PublicKey:
    """The key in one block of PEM; raises as `trusted_keys_from`."""
    serialization, ec = cryptography()
    if "PRIVATE KEY" in kind:
        raise OptionError(f"{where}: is a private key, which only its owner may have. Pass the public one.")
    if kind != "PUBLIC KEY":
        raise OptionError(f"{where}: is a {kind.lower()}, and a public key is wanted. Pass one of `edgetune keygen`.")
    try:
        key = serialization.load_pem_public_key(pem)
    except Exception as error:  # cryptography has one kind for each thing that it cannot read
        raise OptionError(f"{where}: is no whole public key ({first_line(error)}). Copy it again.") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in CURVES:
        found = key.curve.name if isinstance(key, ec.EllipticCurvePublicKey) else type(key).__name__.strip("_")
        raise OptionError(f"{where}: is a key of another kind ({found}): EC keys on P-256, P-384 or P-521 are read.")
    # the same key may be written in several ways, and the hint is that of one
    text = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(hashlib.sha256(text).hexdigest(), where, key)


def first_line(error: Exception) -> str:
    """What it says, without its advice."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def cryptography() -> tuple[Any, Any]:
    """Its serialization and its elliptic curves; raises MissingExtraError where it is not installed."""
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError as error:
        raise MissingExtraError(
            "checking signatures needs cryptography. Install it with `pip install edgetune-runtime[signatures]`."
        ) from error
    return serialization, ec
