"""A bundle folder, opened: the manifest, its files, the tokenizer, the adapters and the graph, in this order."""

from __future__ import annotations

import os
from pathlib import Path

from .adapter import folded_adapter, read_adapter
from .decoder import SharedDecoder
from .encoder import Encoder
from .manifest import check_files, read_manifest
from .model import Model
from .pair_decoder import PairDecoder
from .resources import Resources
from .session import check_graph, check_pair_encoder, open_session
from .standalone import StandaloneDecoder
from .tokenizer import read_tokenizer


def load(
    path: str | os.PathLike[str],
    *,
    threads: int | None = None,
    spin: bool = True,
    arena: bool = True,
    profile: str | os.PathLike[str] | None = None,
    verify: bool = True,
) -> Model:
    """The model in the bundle folder at `path`.

    `threads`, `spin`, `arena` and `profile` are onnxruntime's, see `Resources`. `verify` compares every file with its
    SHA-256. Raises BundleError if the bundle is missing, incomplete, altered or of an unknown version, and AdapterError
    if one of its adapters does not fit.
    """
    folder = Path(path)
    manifest = read_manifest(folder)
    check_files(folder, manifest.files, verify=verify)
    tokenizer = read_tokenizer(folder / manifest.tokenizer.file)
    if manifest.standalone:
        adapters = {manifest.standalone.name: folded_adapter(manifest.standalone)}
    else:
        adapters = {name: read_adapter(folder / file, manifest, name) for name, file in manifest.adapters.items()}
    resources = Resources(threads, spin, arena, profile)
    graph_path = folder / manifest.graph.file
    session = open_session(graph_path, resources)
    check_graph(session, manifest, graph_path)
    if pair := manifest.encoder_decoder:
        encoder_path = folder / pair.encoder_file
        encoder = open_session(encoder_path, resources)
        check_pair_encoder(encoder, manifest, pair, encoder_path)
        target = read_tokenizer(folder / pair.target_tokenizer) if pair.target_tokenizer else tokenizer
        engine = PairDecoder(encoder, session, manifest)
        return Model(manifest, tokenizer, adapters, decoder=engine, target_tokenizer=target)
    if manifest.kind == "encoder":
        return Model(manifest, tokenizer, adapters, encoder=Encoder(session, manifest))
    decoder = (StandaloneDecoder if manifest.standalone else SharedDecoder)(session, manifest.graph)
    return Model(manifest, tokenizer, adapters, decoder=decoder)
