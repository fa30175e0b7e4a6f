"""`bundle.json`, read and checked: the manifest of a bundle, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import MappingProxyType
from typing import Any, Literal, cast

from .adapter_metadata import AdapterMetadata, metadata_from
from .checked import Fields
from .encoder_decoder import EncoderDecoder, encoder_decoder_from
from .ensemble import Ensemble, ensembles_from
from .errors import BundleError, EdgetuneError
from .json_text import MOST_BYTES, json_from
from .layer import Layer, layers_from

FORMAT = "edgetune-bundle"
FORMAT_VERSION = 1
FILE_NAME = "bundle.json"

TASKS = {
    "encoder": ("classify", "tag", "regress"),
    "decoder": ("generate", "classify"),
    "encoder-decoder": ("generate",),
}
ENCODER_TASKS = {"each": ("tag",), "mask": ("classify",)}
"""By pooling; with any other a head classifies or predicts a number."""


@dataclass(frozen=True)
class Graph:
    """What a runtime must know of the ONNX graph."""

    file: str
    layers: tuple[Layer, ...]
    hidden_size: int
    """H."""
    embedding_size: int
    """Width of a prompt's vectors: H but for families such as ALBERT."""
    vocab_size: int
    """V."""
    max_positions: int | None
    """The most positions, virtual tokens and text together; None: no limit."""
    pooling: str | None
    """Encoders: `"mean"`, `"first"`, `"start"`, `"mask"` or `"each"`."""
    dense_heads: bool = False
    """Encoders, shared: whether heads may have a hidden layer."""
    suffixes: bool = False
    """Shared: whether the graph takes virtual tokens behind the text."""
    layer_lengths: bool = False
    """Shared: whether a prefix may be longer in some layers than in others."""


@dataclass(frozen=True)
class Base:
    """The frozen model that the graph was exported from."""

    fingerprint: str
    name: str
    model_type: str
    parameters: int


@dataclass(frozen=True)
class TokenizerFiles:
    """Where the tokenizer is, and the ids that have a role."""

    file: str
    pad_token_id: int | None
    bos_token_id: int | None
    eos_token_ids: tuple[int, ...]
    mask_token_id: int | None = None
    """Where the pooling is `"mask"`, what a head reads at."""
    chat_template: str | None = None
    """The file that says how a conversation is written; None: the base has no such form."""
    special_tokens: Mapping[str, str] = field(default_factory=dict)
    """What a chat template calls `bos_token` and the like."""


@dataclass(frozen=True)
class FileEntry:
    """What a file must be."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Manifest:
    """A bundle's manifest, format version 1 (see `runtime/BUNDLE.md`)."""

    producer: str
    form: Literal["shared", "standalone"]
    kind: Literal["encoder", "decoder", "encoder-decoder"]
    task: str
    """What its default adapter does; its adapters may differ."""
    precision: str
    base: Base
    graph: Graph
    tokenizer: TokenizerFiles
    adapters: Mapping[str, str]
    """Name → file, in the manifest's order."""
    default_adapter: str | None
    standalone: AdapterMetadata | None
    """The folded adapter, in the standalone form."""
    files: Mapping[str, FileEntry]
    encoder_decoder: EncoderDecoder | None = None
    """Of that kind alone; `graph` is the decoder's then."""
    ensembles: Mapping[str, Ensemble] = field(default_factory=dict)
    """By name; adapters that answer together."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks whose adapters fit the graph."""
        if self.kind != "encoder":
            return TASKS[self.kind]
        return ENCODER_TASKS.get(self.graph.pooling or "", ("classify", "regress"))


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the bundle in `folder`. The files that it lists are not touched.

    Raises BundleError if the folder or its manifest is missing, broken or of an unknown version.
    """
    return manifest_in(described(folder), folder)


def described(folder: Path) -> bytes:
    """The bytes of `bundle.json`; raises BundleError if it or the folder is missing."""
    if not folder.exists():
        raise BundleError(f"{folder}: no such folder. Pass the folder that holds {FILE_NAME}.")
    if not folder.is_dir():
        raise BundleError(f"{folder}: is a file, and a bundle is a folder. Unpack an archive first.")
    path = folder / FILE_NAME
    try:
        if path.exists() and not path.is_file():
            raise BundleError(f"{path}: is no file. Copy or export the bundle again.")
        check_inside(path, folder)
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise BundleError(
            f"{folder}: holds no {FILE_NAME}, so it is no bundle. Make one with `edgetune export`."
        ) from None
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror or error}). Check its permissions.") from error


def check_inside(path: Path, folder: Path, error: type[EdgetuneError] = BundleError) -> None:
    """Raises `error` where links lead from `path` to something outside of the bundle's folder."""
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # links that lead in a circle
        inside = False
    if not inside:
        raise error(
            f"{path}: is a link that leads out of the bundle. Copy the bundle with its files, not with links to them."
        )


def manifest_in(description: bytes, folder: Path) -> Manifest:
    """The manifest in the bytes of a folder's `bundle.json`; raises BundleError if broken or of another version."""
    path = folder / FILE_NAME
    try:
        data = json_from(description)
    except ValueError as error:
        raise BundleError(f"{path}: is not whole JSON ({error}). Copy or export the bundle again.") from None
    if not isinstance(data, dict):
        raise BundleError(f"{path}: holds {type(data).__name__} where an object was expected. Export the bundle again.")
    return manifest_from(data, str(path))


def manifest_from(data: dict[str, Any], where: str) -> Manifest:
    """The manifest in `data`, an already decoded JSON object. `where` is named in errors (BundleError)."""
    top = Fields(data, where, BundleError)
    top.exactly("format", FORMAT)
    top.exactly("format_version", FORMAT_VERSION)
    form = top.one_of("form", ("shared", "standalone"))
    kind = top.one_of("kind", ("encoder", "decoder", "encoder-decoder"))
    task = top.one_of("task", ("classify", "generate", "tag", "regress"))
    if task not in TASKS[kind] or (kind == "encoder-decoder" and form != "shared"):
        raise BundleError(
            f"{where}: the kind {kind!r} with the task {task!r} and the form {form!r} is not known to this runtime. "
            "Update edgetune-runtime."
        )
    base, tokenizer = top.object("base"), top.object("tokenizer")
    files = _files_from(top)
    graph = _graph_from(top.object("graph"))
    adapters = {name: _listed(value.text("file"), files, where) for name, value in top.objects("adapters")}
    manifest = Manifest(
        producer=top.text("producer", ""),
        form=cast(Literal["shared", "standalone"], form),
        kind=cast(Literal["encoder", "decoder", "encoder-decoder"], kind),
        task=task,
        precision=top.text("precision"),
        base=Base(
            base.text("fingerprint"), base.text("name", ""), base.text("model_type", ""), base.whole("parameters", 0)
        ),
        graph=graph,
        tokenizer=TokenizerFiles(
            file=_listed(tokenizer.text("file"), files, where),
            pad_token_id=tokenizer.optional_whole("pad_token_id"),
            mask_token_id=tokenizer.optional_whole("mask_token_id"),
            bos_token_id=tokenizer.optional_whole("bos_token_id"),
            eos_token_ids=tuple(tokenizer.wholes("eos_token_ids")),
            **_chat_from(tokenizer, files, where),
        ),
        adapters=MappingProxyType(adapters),
        default_adapter=top.optional_text("default_adapter"),
        standalone=metadata_from(top.object("standalone")) if form == "standalone" else None,
        encoder_decoder=encoder_decoder_from(top.object("encoder_decoder")) if kind == "encoder-decoder" else None,
        files=MappingProxyType(files),
        ensembles=ensembles_from(top, adapters),
    )
    _listed(graph.file, files, where)
    if manifest.encoder_decoder:
        for name in (manifest.encoder_decoder.encoder_file, manifest.encoder_decoder.target_tokenizer):
            _listed(graph.file if name is None else name, files, where)
    known = {manifest.standalone.name} if manifest.standalone else set(adapters)
    if manifest.default_adapter is not None and manifest.default_adapter not in known:
        raise BundleError(
            f"{where}: the default adapter {manifest.default_adapter!r} is not one of {sorted(known)}. Export again."
        )
    return manifest


def _graph_from(graph: Fields) -> Graph:
    max_positions = graph.optional_whole("max_positions")
    return Graph(
        file=graph.text("file"),
        layers=layers_from(graph, "layers"),
        hidden_size=graph.positive("hidden_size"),
        embedding_size=graph.positive("embedding_size"),
        vocab_size=graph.positive("vocab_size"),
        max_positions=max_positions,
        pooling=graph.optional_text("pooling"),
        dense_heads=graph.flag("dense_heads"),
        suffixes=graph.flag("suffixes"),
        layer_lengths=graph.flag("layer_lengths"),
    )


def _chat_from(tokenizer: Fields, files: Mapping[str, FileEntry], where: str) -> dict[str, Any]:
    name = tokenizer.optional_text("chat_template_file")
    if name is None:
        return {}
    tokens = tokenizer.object("special_tokens")
    named = {token: tokens.text(token) for token in tokens.data}
    return {"chat_template": _listed(name, files, where), "special_tokens": MappingProxyType(named)}


def _files_from(top: Fields) -> dict[str, FileEntry]:
    files: dict[str, FileEntry] = {}
    for name, entry in top.objects("files"):
        if not _stays_inside(name):
            raise BundleError(
                f"{top.where}: lists the file {name!r}, which is not a plain path inside the bundle. "
                "Do not use this bundle unless you made it; export it again."
            )
        files[name] = FileEntry(entry.text("sha256").lower(), entry.whole("size_bytes"))
    return files


def _stays_inside(name: str) -> bool:
    """A relative POSIX path without `..`, and none that Windows reads as a drive or a root."""
    path = PurePosixPath(name)
    plain = bool(path.parts) and "\\" not in name and "\0" not in name
    return plain and not path.is_absolute() and ".." not in path.parts and not PureWindowsPath(name).drive


def _listed(name: str, files: Mapping[str, FileEntry], where: str) -> str:
    if name not in files:
        raise BundleError(
            f"{where}: names the file {name!r} but does not list it under `files`. Export the bundle again."
        )
    return name
