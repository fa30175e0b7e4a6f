"""Files compared with what a trusted key has signed: a bundle's folder, or one adapter's file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from .durable import PARTIAL
from .errors import SignatureError
from .manifest import FILE_NAME, FileEntry, Manifest, described, manifest_in
from .signature import MOST_BYTES, Statement, statement_of
from .trusted_keys import PublicKey, TrustedKey, trusted_keys_from
from .verification import check_files

SIGNATURE = "model.sig"
"""A folder's signature, in it."""
UNFINISHED = f".{SIGNATURE}{PARTIAL}"
"""How names begin of what a killed signer leaves: never read, and no reason to refuse what was signed."""
SUFFIX = ".sig"
"""Of a file's, beside it: behind the whole name."""
ITSELF = "."
"""What a statement about one file calls it."""
GIT = (".git", ".gitattributes", ".github", ".gitignore")
"""What model_signing passes over unless it is told not to."""

PathOrBytes = str | os.PathLike[str] | bytes


def verify(
    path: PathOrBytes, trusted_keys: TrustedKey | Sequence[TrustedKey], *, signature: PathOrBytes | None = None
) -> Statement:
    """What a trusted key has signed: all of the bundle's folder, or the file, at `path`, or a file's bytes.

    `signature` is a path or the bytes themselves; left out, it is `model.sig` in the folder, or beside the file under
    its name with `.sig`. Every file is read. Raises SignatureError where it is missing or made with another key, where
    it does not hold, and for a file that was added, is missing or was altered; BundleError for a folder that is none;
    OptionError for keys that are none, MissingExtraError without cryptography.
    """
    keys = trusted_keys_from(trusted_keys)
    if isinstance(path, bytes):
        if signature is None:
            raise SignatureError("signature: is missing, and bytes have none beside them. Pass it as well.")
        return signed_bytes(path, signature_bytes(signature), keys)
    place = Path(path)
    if place.is_dir():
        _, statement = signed_manifest(place, keys, signature)
        check_files(place, signed_entries(place, statement), listed_in=SIGNATURE, error=SignatureError)
        return statement
    return signed_file(place, keys, signature)


def signed_folder(folder: Path, keys: Sequence[PublicKey], signature: PathOrBytes | None = None) -> Statement:
    """The statement about a folder; it names the files that are there, and no others. Their bytes are not compared.

    Raises SignatureError as `verify`.
    """
    where = folder / SIGNATURE if signature is None else signature
    statement = statement_of(signature_bytes(where), keys, name_of(where, f"the signature of {folder}"))
    passed_over = (SIGNATURE, *GIT, *statement.ignored)
    for name in names_in(folder):
        if name.startswith(UNFINISHED):
            continue
        if name not in statement.files and not any(PurePosixPath(name).is_relative_to(x) for x in passed_over):
            raise SignatureError(f"{folder / name}: was not signed. Remove it, or sign the folder again.")
    for name in statement.files:
        if not (folder / name).is_file():
            raise SignatureError(f"{folder / name}: was signed and is missing. Copy the folder again.")
    return statement


def signed_manifest(
    folder: Path, keys: Sequence[PublicKey], signature: PathOrBytes | None = None
) -> tuple[Manifest, Statement]:
    """The manifest of a signed bundle, which is read after its bytes are found to be the signed ones.

    Every file that it lists was signed, with the hash that it lists. Raises SignatureError, BundleError.
    """
    statement = signed_folder(folder, keys, signature)
    description, path = described(folder), folder / FILE_NAME
    if statement.files.get(FILE_NAME) != hashlib.sha256(description).hexdigest():
        raise SignatureError(f"{path}: is not the one that was signed. Copy the bundle again.")
    manifest = manifest_in(description, folder)
    for name, entry in manifest.files.items():
        if statement.files.get(name) != entry.sha256:
            raise SignatureError(f"{path}: lists {name!r} otherwise than it was signed. Sign the bundle again.")
    return manifest, statement


def signed_file(path: Path, keys: Sequence[PublicKey], signature: PathOrBytes | None = None) -> Statement:
    """The statement about the file, whose bytes are those that were signed; raises SignatureError."""
    return signed_contents(path, keys, signature)[1]


def signed_contents(
    path: Path, keys: Sequence[PublicKey], signature: PathOrBytes | None = None
) -> tuple[bytes, Statement]:
    """The bytes of the file that were signed, and the statement about them; raises SignatureError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SignatureError(f"{path}: cannot be read ({error.strerror or error}). Check the path.") from error
    beside = path.with_name(path.name + SUFFIX) if signature is None else signature
    where = name_of(beside, f"the signature of {path}")
    return data, signed_bytes(data, signature_bytes(beside), keys, str(path), where)


def signed_bytes(
    data: bytes,
    signature: bytes,
    keys: Sequence[PublicKey],
    where: str = "the file",
    signature_where: str = "its signature",
) -> Statement:
    """The statement about one file of these bytes; raises SignatureError, naming `where`."""
    statement = statement_of(signature, keys, signature_where)
    if set(statement.files) != {ITSELF}:
        raise SignatureError(f"{signature_where}: is of a folder, and one of a single file is wanted. Sign the file.")
    if hashlib.sha256(data).hexdigest() != statement.files[ITSELF]:
        raise SignatureError(f"{where}: is not the file that was signed. Copy it again, or sign it.")
    return statement


def signature_bytes(signature: PathOrBytes) -> bytes:
    """Those of a signature; raises SignatureError where there is none."""
    if isinstance(signature, bytes):
        return signature
    if not os.path.isfile(signature):  # a pipe would keep whoever opens it
        raise SignatureError(f"{signature}: is missing, and only what is signed is trusted. Sign with `edgetune sign`.")
    try:
        with open(signature, "rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise SignatureError(f"{signature}: cannot be read ({error.strerror or error}).") from error


def signed_entries(folder: Path, statement: Statement) -> dict[str, FileEntry]:
    """What each file must be; of sizes nothing is signed, so they are those of the files that are there."""
    return {x: FileEntry(sha256, (folder / x).stat().st_size) for x, sha256 in statement.files.items()}


def names_in(folder: Path) -> Iterator[str]:
    """Paths of all files below the folder, links to folders among them; raises SignatureError."""

    def fail(error: OSError) -> None:
        raise SignatureError(f"{error.filename}: cannot be read ({error.strerror}). Check its permissions.")

    for root, folders, files in os.walk(folder, onerror=fail):
        links = [x for x in folders if os.path.islink(os.path.join(root, x))]
        for name in (*files, *links):
            yield Path(root, name).relative_to(folder).as_posix()


def name_of(signature: PathOrBytes, otherwise: str) -> str:
    """What messages call it."""
    return otherwise if isinstance(signature, bytes) else str(signature)
