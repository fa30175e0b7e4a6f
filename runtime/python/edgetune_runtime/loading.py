"""A bundle folder, opened: the manifest, its files, the tokenizer, the adapters and the graph, in this order."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from .adapter import folded_adapter
from .adapter_memory import AdapterMemory
from .adapter_set import AdapterSet, Known
from .chat_template import read_chat_template
from .decoder import SharedDecoder
from .encoder import Encoder
from .errors import OptionError, SignatureError
from .external_data import check_external_data
from .manifest import Manifest, read_manifest
from .memory import Memory, planned_memory
from .model import Model
from .pair_decoder import PairDecoder
from .parts import Parts
from .resources import Resources
from .session import check_graph, check_pair_encoder, open_session
from .signature import Statement
from .signed_files import SIGNATURE, signed_entries, signed_manifest
from .stamps import Stamps
from .standalone import StandaloneDecoder
from .stored_adapter import stored_adapter
from .tokenizer import read_tokenizer
from .trusted_keys import TrustedKey, trusted_keys_from
from .verification import Verification


def load(
    path: str | os.PathLike[str],
    *,
    threads: int | None = None,
    spin: bool = True,
    arena: bool = True,
    profile: str | os.PathLike[str] | None = None,
    verify: bool = True,
    verification_cache: str | os.PathLike[str] | None = None,
    trusted_keys: TrustedKey | Sequence[TrustedKey] | None = None,
    memory_limit: int | None = None,
    adapter_memory_limit: int | None = None,
    split_special_tokens: bool = True,
) -> Model:
    """The model in the bundle folder at `path`.

    `threads`, `spin`, `arena` and `profile` are onnxruntime's, see `Resources`. `verify` compares every file with its
    SHA-256, an adapter's when its tensors are read: at its first use. With a `verification_cache`, a folder that the
    app alone writes to, files that were compared at an earlier start and carry the same size, inode and times are not
    read again. With `trusted_keys`, PEM text or paths of public keys, one of them must have signed the folder, all of
    it is compared before anything is opened, adapters too, and `add_adapter` asks for signatures. `memory_limit`, in
    bytes, is what the model may need: the context becomes shorter where that is enough, see `Memory`.
    `adapter_memory_limit` is how much of adapters' tensors stays in memory beyond the calls that use them. With
    `split_special_tokens` special tokens that a text holds, such as `<|im_end|>`, are characters like others; without
    it they control the model.

    Raises BundleError if the bundle is missing, incomplete, altered or of an unknown version, and its kind
    SignatureError if it is not what a trusted key has signed; AdapterError if one of its adapters does not fit,
    MemoryLimitError if the model does not fit the limit, OptionError for an option out of its range or a key that is
    none, MissingExtraError for trusted keys without cryptography.
    """
    limit, adapter_limit = (
        checked_bytes("memory_limit", memory_limit),
        checked_bytes("adapter_memory_limit", adapter_memory_limit),
    )
    keys = None if trusted_keys is None else trusted_keys_from(trusted_keys)
    if not verify and (keys is not None or verification_cache is not None):
        raise OptionError("verify: is False, and trusted_keys or verification_cache ask for files to be compared.")
    folder = Path(path)
    stamps = None if verification_cache is None else Stamps(verification_cache, folder)
    manifest, statement = (read_manifest(folder), None) if keys is None else signed_manifest(folder, keys)
    memory = planned_memory(manifest, limit, adapter_limit)
    manifest = replace(manifest, graph=replace(manifest.graph, max_positions=memory.max_positions))
    verification = comparison(folder, manifest, statement, stamps, verify=verify)
    try:
        known = known_adapters(folder, manifest, verify=verify)
        adapters = AdapterSet(manifest, known, AdapterMemory(adapter_limit), keys)
        resources = Resources(threads, spin, arena, profile)
        return opened(folder, manifest, adapters, memory, resources, split_special_tokens=split_special_tokens)
    finally:
        # where both fail, an altered file is the reason
        verification.done()


def comparison(
    folder: Path, manifest: Manifest, statement: Statement | None, stamps: Stamps | None, *, verify: bool
) -> Verification:
    """The comparison of the files, which goes on; of files that are signed it has ended well.

    Raises BundleError and SignatureError.
    """
    if statement is None:
        later = manifest.adapters.values() if verify else manifest.files
        return Verification(folder, manifest.files, later=set(later), stamps=stamps)
    entries = signed_entries(folder, statement)
    verification = Verification(folder, entries, stamps=stamps, listed_in=SIGNATURE, error=SignatureError)
    verification.done()  # nothing is looked into that nobody has signed
    return verification


def opened(
    folder: Path, manifest: Manifest, adapters: AdapterSet, memory: Memory, resources: Resources, *,
    split_special_tokens: bool,
) -> Model:  # fmt: skip
    """The model, its files taken as they are; raises as `load` does."""
    splits = split_special_tokens
    tokenizer = read_tokenizer(folder / manifest.tokenizer.file, split_special_tokens=splits)
    parts = Parts(manifest, tokenizer, adapters, memory)
    graph_path = folder / manifest.graph.file
    check_external_data(graph_path, manifest, folder)
    session = open_session(graph_path, resources)
    check_graph(session, manifest, graph_path)
    if pair := manifest.encoder_decoder:
        encoder_path = folder / pair.encoder_file
        check_external_data(encoder_path, manifest, folder)
        encoder = open_session(encoder_path, resources)
        check_pair_encoder(encoder, manifest, pair, encoder_path)
        target, file = tokenizer, pair.target_tokenizer
        if file:
            target = read_tokenizer(folder / file, split_special_tokens=splits)
        engine = PairDecoder(encoder, session, manifest)
        return Model(replace(parts, decoder=engine, target_tokenizer=target))
    if manifest.kind == "encoder":
        return Model(replace(parts, encoder=Encoder(session, manifest, memory)))
    decoder = (StandaloneDecoder if manifest.standalone else SharedDecoder)(session, manifest.graph)
    names = manifest.tokenizer
    template = read_chat_template(folder / names.chat_template, names.special_tokens) if names.chat_template else None
    return Model(replace(parts, decoder=decoder, chat_template=template))


def known_adapters(folder: Path, manifest: Manifest, *, verify: bool) -> Mapping[str, Known]:
    """The bundle's adapters by name; their headers are read, their tensors are not."""
    if manifest.standalone:
        return {manifest.standalone.name: folded_adapter(manifest.standalone)}
    hashes = {name: manifest.files[file].sha256 if verify else None for name, file in manifest.adapters.items()}
    return {
        name: stored_adapter(folder / file, manifest, name, hashes[name]) for name, file in manifest.adapters.items()
    }


def checked_bytes(name: str, value: int | None) -> int | None:
    """A limit in bytes; raises OptionError for what is none."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise OptionError(f"{name}: is {value!r}. Pass a whole number of bytes, or None.")
    return value
