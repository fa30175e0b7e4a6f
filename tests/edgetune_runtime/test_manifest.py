"""A bundle that is not whole, not ours or not of a known version is refused, with the file named."""

import hashlib
import json

import edgetune_runtime
import pytest
from edgetune_runtime.errors import BundleError
from edgetune_runtime.manifest import Layer, read_manifest
from edgetune_runtime.verification import check_files


def described(**changes):
    """A manifest as a JSON object."""
    files = {"model.onnx": b"graph", "tokenizer.json": b"{}", "adapters/a.safetensors": b"tensors"}
    data = {
        "format": "edgetune-bundle",
        "format_version": 1,
        "producer": "edgetune 0.1.0",
        "form": "shared",
        "kind": "encoder",
        "task": "classify",
        "precision": "fp32",
        "base": {"fingerprint": "sha256:00", "name": "tiny", "model_type": "bert", "parameters": 7},
        "graph": {
            "file": "model.onnx",
            "layers": [{"key_value_heads": 2, "head_size": 4}],
            "hidden_size": 8,
            "embedding_size": 8,
            "vocab_size": 100,
            "max_positions": None,
            "pooling": "mean",
        },
        "tokenizer": {"file": "tokenizer.json", "pad_token_id": 0, "bos_token_id": None, "eos_token_ids": []},
        "adapters": {"a": {"file": "adapters/a.safetensors"}},
        "default_adapter": "a",
        "files": {n: {"sha256": hashlib.sha256(x).hexdigest(), "size_bytes": len(x)} for n, x in files.items()},
    }
    return {**data, **changes}


@pytest.fixture
def bundle(tmp_path):
    """Writes a bundle folder of small files, its manifest changed as asked."""

    def write(**changes):
        (tmp_path / "adapters").mkdir(exist_ok=True)
        (tmp_path / "model.onnx").write_bytes(b"graph")
        (tmp_path / "tokenizer.json").write_bytes(b"{}")
        (tmp_path / "adapters/a.safetensors").write_bytes(b"tensors")
        (tmp_path / "bundle.json").write_text(json.dumps(described(**changes)), "utf-8")
        return tmp_path

    return write


def test_manifest_holds_what_the_file_says(bundle):
    manifest = read_manifest(bundle())
    assert (manifest.form, manifest.kind, manifest.task) == ("shared", "encoder", "classify")
    assert manifest.graph.layers == (Layer(2, 4),)
    assert manifest.graph.max_positions is None
    assert dict(manifest.adapters) == {"a": "adapters/a.safetensors"}
    assert manifest.default_adapter == "a"
    assert manifest.standalone is None


def test_adapters_keep_their_order(bundle):
    entry = {"file": "adapters/a.safetensors"}
    assert list(read_manifest(bundle(adapters={"z": entry, "a": entry, "m": entry})).adapters) == ["z", "a", "m"]


def test_keys_of_later_minor_changes_are_ignored(bundle):
    assert read_manifest(bundle(remark="later")).precision == "fp32"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "zip"}, "'zip'"),
        ({"format_version": 2}, "2.*reads 1"),
        ({"format_version": True}, "True"),
        ({"form": "other"}, "`form`.*'other'"),
        ({"kind": "decoder", "task": "tag"}, "'decoder' with the task 'tag'"),
        ({"graph": {}}, "graph: `file`|graph: `layers`"),
        ({"base": 3}, "`base`.*object"),
        ({"default_adapter": "b"}, "'b'"),
        ({"adapters": {"a": {"file": "model.bin"}}}, r"model\.bin"),
        ({"tokenizer": {"file": "tokenizer.json", "eos_token_ids": ["x"]}}, "eos_token_ids"),
        ({"tokenizer": {"file": "tokenizer.json", "chat_template_file": "x.jinja", "special_tokens": {}}}, r"x\.jinja"),
        ({"tokenizer": {"file": "tokenizer.json", "chat_template_file": "tokenizer.json"}}, "`special_tokens`"),
        ({"files": {}}, "under `files`"),
        ({"form": "standalone"}, "`standalone`"),
    ],
)
def test_a_manifest_that_does_not_hold_is_refused_by_name(bundle, changes, words):
    with pytest.raises(BundleError, match=words) as caught:
        read_manifest(bundle(**changes))
    assert "bundle.json" in str(caught.value)


@pytest.mark.parametrize("key", ["format", "form", "base", "graph", "tokenizer", "adapters", "files", "precision"])
def test_a_missing_key_is_named(bundle, key):
    data = described()
    del data[key]
    folder = bundle()
    (folder / "bundle.json").write_text(json.dumps(data))
    with pytest.raises(BundleError, match=f"`{key}`"):
        read_manifest(folder)


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "C:/x", "a\\b", "", "C:x"])
def test_paths_that_leave_the_bundle_are_refused(bundle, name):
    files = {**described()["files"], name: {"sha256": "00", "size_bytes": 0}}
    with pytest.raises(BundleError, match="inside the bundle"):
        read_manifest(bundle(files=files))


def test_places_that_are_no_bundle_are_named(tmp_path):
    with pytest.raises(BundleError, match="no such folder"):
        edgetune_runtime.load(tmp_path / "missing")
    with pytest.raises(BundleError, match="no bundle"):
        edgetune_runtime.load(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(BundleError, match="is a file"):
        edgetune_runtime.load(tmp_path / "file")


@pytest.mark.parametrize("data", [b'{"format": "edgetune', b"\xff\xfe", b"", b"[1]", b"[" * 100_000])
def test_a_broken_manifest_is_named(tmp_path, data):
    (tmp_path / "bundle.json").write_bytes(data)
    with pytest.raises(BundleError, match=r"bundle\.json"):
        edgetune_runtime.load(str(tmp_path))


def test_every_file_is_compared_with_its_hash(bundle):
    folder = bundle()
    files = read_manifest(folder).files
    check_files(folder, files)
    (folder / "model.onnx").write_bytes(b"grapH")
    with pytest.raises(BundleError, match=r"model\.onnx.*SHA-256"):
        check_files(folder, files)
    check_files(folder, files, verify=False)


def test_truncated_and_missing_files_are_found_without_hashing(bundle):
    folder = bundle()
    files = read_manifest(folder).files
    (folder / "tokenizer.json").write_bytes(b"{")
    with pytest.raises(BundleError, match=r"tokenizer\.json.*1 bytes.*2"):
        check_files(folder, files, verify=False)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(BundleError, match=r"tokenizer\.json.*missing"):
        check_files(folder, files, verify=False)


def test_errors_are_also_errors_of_python():
    e = edgetune_runtime
    assert issubclass(e.BundleError, ValueError) and issubclass(e.AdapterError, LookupError)
    assert issubclass(e.BaseMismatchError, e.AdapterError) and issubclass(e.ContextLengthError, ValueError)
    assert issubclass(e.TaskError, TypeError) and issubclass(e.InputError, TypeError)
    assert all(issubclass(getattr(e, name), e.EdgetuneError) for name in e.__all__ if name.endswith("Error"))
