"""Keys, and signatures in the format of OpenSSF Model Signing, which its own library writes."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetune_runtime.adapter_file import read_header
from edgetune_runtime.durable import PARTIAL, write_durable
from edgetune_runtime.errors import MissingExtraError
from edgetune_runtime.manifest import FILE_NAME, read_manifest
from edgetune_runtime.signed_files import SIGNATURE, SUFFIX, verify
from edgetune_runtime.verification import check_files

from edgetune.config import CURVES
from edgetune.errors import OutputExistsError, SigningError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from edgetune_runtime.signature import Statement

PRIVATE_MODE = 0o600
EXTRA = "pip install 'edgetune[signing]'"

logger = logging.getLogger(__name__)


def new_key(path: str | os.PathLike[str], curve: str, password: str | None, *, force: bool) -> tuple[Path, Path]:
    """Where a new private key, in PEM, and beside it its public half, `.pub`, are; only the owner may read the first.

    `password` protects the private one; None: nothing does. Raises OutputExistsError where one of them is there and
    `force` is false, MissingExtraError without cryptography.
    """
    serialization, ec = cryptography()
    private = Path(path)
    if private.suffix == ".pub":
        raise SigningError(f"{path}: ends like a public key. Name the private one, e.g. {private.with_suffix('.key')}")
    public = private.with_suffix(".pub") if private.suffix in (".key", ".pem") else Path(f"{private}.pub")
    for place in (private, public):
        if os.path.lexists(place) and not force:
            raise OutputExistsError(f"{place} exists. Name another key, or replace it for good with --force")
    key = ec.generate_private_key({"P-256": ec.SECP256R1, "P-384": ec.SECP384R1, "P-521": ec.SECP521R1}[curve]())
    protection = (
        serialization.NoEncryption()
        if password is None
        else serialization.BestAvailableEncryption(password.encode("utf-8"))
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)
    try:
        private.parent.mkdir(parents=True, exist_ok=True)
        write_durable(public, public_pem(key))  # first: where this ends, an old private key is not lost
        write_durable(private, pem, PRIVATE_MODE)
    except OSError as error:
        raise SigningError(f"{private}: cannot be written ({error.strerror or error}). Name another place") from error
    return private, public


def signed(
    path: str | os.PathLike[str], key: str | os.PathLike[str], password: Callable[[], str]
) -> tuple[Path, Statement]:
    """Where the signature of the bundle, or of the adapter's file, at `path` is, and what it says.

    A bundle's is `model.sig` in it, a file's is beside it under its name with `.sig`; one that was there is replaced.
    `password` is asked where the key needs one. The device's own check has passed before anything is written. Raises
    SigningError for a key that does not sign and for what cannot be signed, the runtime's BundleError and AdapterError
    for what is not whole, MissingExtraError without model-signing.
    """
    place, key_path = Path(path), Path(key)
    private, secret = private_key(key_path, password)
    target, ignored = checked_target(place)
    for left in target.parent.glob(f".{target.name}{PARTIAL}*"):  # of a process that was killed
        left.unlink(missing_ok=True)
    made = library_signature(place, key_path, secret, ignored)
    statement = verify(place, public_pem(private), signature=made)
    write_durable(target, made)
    return target, statement


def checked_target(place: Path) -> tuple[Path, Sequence[str]]:
    """Where the signature goes, and paths of which it says nothing; raises for what is not whole, or not to be signed.

    An adapter in a bundle may be signed on its own as well, before or after: those signatures are passed over.
    """
    if place.is_dir():
        if (place / "adapter.json").is_file() and not (place / FILE_NAME).is_file():
            raise SigningError(
                f"{place}: is an adapter of the workshop, which no device loads. Sign the .safetensors that "
                "`edgetune add-adapter` writes"
            )
        manifest = read_manifest(place)
        check_files(place, manifest.files)
        return place / SIGNATURE, (SIGNATURE, *(f"{file}{SUFFIX}" for file in manifest.adapters.values()))
    if read_header(place).metadata.version is None:
        logger.warning(
            "%s says no version, and stores on devices take none that is not signed: "
            "write one with `edgetune add-adapter --adapter-version`",
            place,
        )
    return place.with_name(place.name + SUFFIX), ()


def library_signature(place: Path, key: Path, password: bytes | None, ignored: Sequence[str]) -> bytes:
    """The signature's file, as model_signing writes it."""
    try:
        from model_signing import hashing, signing
    except ImportError as error:
        raise MissingExtraError(f"signing needs model-signing ({error}). Install it with `{EXTRA}`.") from error
    secret: Any = password  # declared as text, taken as bytes
    config = signing.Config().use_elliptic_key_signer(private_key=key, password=secret)
    config.set_hashing_config(hashing.Config().set_ignored_paths(paths=list(ignored)))
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder, SIGNATURE)
        try:
            config.sign(place, written)
        except ValueError as error:
            raise SigningError(f"{place}: cannot be signed ({error})") from error
        return written.read_bytes()


def private_key(path: Path, password: Callable[[], str]) -> tuple[EllipticCurvePrivateKey, bytes | None]:
    """The key in the file at `path`, and its password if it has one; raises SigningError for one that cannot sign."""
    serialization, ec = cryptography()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SigningError(f"{path}: the key cannot be read ({error.strerror or error})") from error
    if b"PUBLIC KEY-----" in data:
        raise SigningError(f"{path}: is a public key. Sign with the private one")
    secret: bytes | None = None
    if needs_password(data):
        secret = password().encode("utf-8")
    try:
        key = serialization.load_pem_private_key(data, secret)
    except ValueError as error:
        if secret is not None:
            raise SigningError(f"{path}: the password is wrong, or the key is not whole") from None
        raise SigningError(f"{path}: is no private key in PEM. Make one with `edgetune keygen`") from error
    except Exception as error:  # cryptography has more kinds, of what it does not read
        raise SigningError(f"{path}: is no private key that is read here ({error})") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SigningError(f"{path}: is no EC key. Make one with `edgetune keygen`")
    if key.curve.name not in ("secp256r1", "secp384r1", "secp521r1"):
        raise SigningError(f"{path}: is on the curve {key.curve.name}, and signatures are of {', '.join(CURVES)}")
    return key, secret


def needs_password(data: bytes) -> bool:
    """Whether a private key in PEM is protected by one."""
    serialization, _ = cryptography()
    try:
        serialization.load_pem_private_key(data, None)
    except TypeError:
        return True
    except Exception:  # whatever else is wrong with it is said when it is read
        return False
    return False


def public_pem(key: EllipticCurvePrivateKey) -> bytes:
    """The public half."""
    serialization, _ = cryptography()
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def cryptography() -> tuple[Any, Any]:
    """Its serialization and its elliptic curves; raises MissingExtraError where it is not installed."""
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError as error:
        raise MissingExtraError(f"keys need cryptography. Install it with `{EXTRA}`.") from error
    return serialization, ec
