"""Only files that the manifest lists with their hash are loaded, and no library of operators ever is."""

import ast
import json
import shutil
from pathlib import Path

import edgetune_runtime
import onnx
import pytest
from edgetune_runtime import BundleError
from onnx import TensorProto, helper

from .conftest import GOLDEN

PACKAGE = Path(edgetune_runtime.__file__).parent


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(GOLDEN / "encoder-shared", tmp_path / "bundle")


def described(folder, change):
    """The manifest, changed."""
    path = folder / "bundle.json"
    description = json.loads(path.read_bytes())
    change(description)
    path.write_text(json.dumps(description))


def test_a_graph_without_a_hash_in_the_manifest_is_not_opened(folder, monkeypatch):
    opened = []
    monkeypatch.setattr("edgetune_runtime.loading.open_session", lambda path, *_: opened.append(path))
    shutil.copy(folder / "model.onnx", folder / "other.onnx")
    described(folder, lambda x: x["graph"].update(file="other.onnx"))
    with pytest.raises(BundleError, match=r"names the file 'other\.onnx' but does not list it"):
        edgetune_runtime.load(folder)
    assert opened == []


def test_a_graph_in_place_of_the_listed_one_gives_no_model(folder):
    other = GOLDEN / "encoder-standalone-prefix" / "model.onnx"
    shutil.copy(other, folder / "model.onnx")
    described(folder, lambda x: x["files"]["model.onnx"].update(size_bytes=other.stat().st_size))
    with pytest.raises(BundleError, match=r"model\.onnx: its SHA-256"):
        edgetune_runtime.load(folder)


def test_a_graph_that_needs_an_operator_of_a_library_is_refused_although_the_library_is_in_the_bundle(folder):
    node = helper.make_node("Own", ["input_ids"], ["logits"], domain="com.example")
    ends = [helper.make_tensor_value_info(x, TensorProto.INT64, ["B", "T"]) for x in ("input_ids", "logits")]
    graph = helper.make_graph([node], "own", ends[:1], ends[1:])
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.example", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), folder / "model.onnx")
    library = folder / "libown.so"
    library.write_bytes(b"\x7fELF")
    rehash(folder, "model.onnx", "libown.so")
    described(folder, lambda x: x.update(custom_ops_library="libown.so"))
    described(folder, lambda x: x["graph"].update(custom_ops_library="libown.so"))
    with pytest.raises(BundleError, match=r"model\.onnx: onnxruntime .* cannot open the graph"):
        edgetune_runtime.load(folder)


def rehash(folder, *names):
    """Their hashes in the manifest are those that they have."""
    from hashlib import sha256

    def change(description):
        for name in names:
            data = (folder / name).read_bytes()
            description["files"][name] = {"sha256": sha256(data).hexdigest(), "size_bytes": len(data)}

    described(folder, change)


def test_nothing_in_the_runtime_can_load_a_library():
    banned = {"register_custom_ops_library", "CDLL", "LoadLibrary", "dlopen", "cdll", "pickle", "marshal"}
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        names = {x.attr for x in ast.walk(tree) if isinstance(x, ast.Attribute)}
        names |= {x.id for x in ast.walk(tree) if isinstance(x, ast.Name)}
        names |= {a.name for x in ast.walk(tree) if isinstance(x, (ast.Import, ast.ImportFrom)) for a in x.names}
        names |= {x.module for x in ast.walk(tree) if isinstance(x, ast.ImportFrom) and x.module}
        assert not names & banned, path.name
