"""Files that are made to do harm end in an error of ours, in little time and memory, and nothing outside is read."""

import base64
import hashlib
import json
import os
import shutil

import edgetune_runtime
import numpy as np
import onnxruntime as ort
import pytest
from edgetune_runtime import BundleError, EdgetuneError
from edgetune_runtime.external_data import external_files
from edgetune_runtime.json_text import json_from
from references.hostile import HOSTILE, adapter_of, text_of
from references.limits import MEGABYTE, outcome_of
from safetensors.numpy import load_file, save

from .conftest import GOLDEN

MOST = 64 * MEGABYTE
SHARED = GOLDEN / "decoder-shared"


def used(folder):
    model = edgetune_runtime.load(folder, threads=1)
    model.generate("a" * 40 + "b", max_new_tokens=2)
    model.tokenizer.to_json()


@pytest.fixture(scope="module")
def harmless_bytes():
    """What a harmless model that is opened and used takes, for the most part ONNX Runtime's: the most of three."""
    return max(outcome_of(lambda: used(SHARED)).peak_bytes for _ in range(3))


@pytest.fixture
def copied(tmp_path):
    return shutil.copytree(SHARED, tmp_path / "bundle")


def manifest_of(folder):
    return json.loads((folder / "bundle.json").read_text("utf-8"))


def rewritten(folder, manifest):
    (folder / "bundle.json").write_text(manifest if isinstance(manifest, str) else json.dumps(manifest))


def listed(folder, name, data):
    """A file of the bundle with these bytes, and a manifest that says so: what somebody can do who has no key."""
    (folder / name).write_bytes(data)
    manifest = manifest_of(folder)
    manifest["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
    rewritten(folder, manifest)


def refused(call, kind=EdgetuneError, words="", more=0):
    """The call ends in an error of ours, and takes at most 64 MB beyond the file's own size."""
    found = outcome_of(call)
    assert isinstance(found.error, kind), repr(found.error)
    assert words in str(found.error)
    assert found.peak_bytes <= MOST + more, found.peak_bytes
    assert len(str(found.error)) < 3000


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../x", "a/../../x", "C:/x", "..\\x", "", "a\0b", "//x/y", "~/../../x"]
)
def test_a_path_out_of_the_bundle_is_refused(copied, name):
    manifest = manifest_of(copied)
    manifest["files"][name] = {"sha256": "0" * 64, "size_bytes": 1}
    manifest["tokenizer"]["file"] = name
    rewritten(copied, manifest)
    refused(lambda: edgetune_runtime.load(copied), BundleError)


@pytest.mark.parametrize("name", ["tokenizer.json", "bundle.json", "model.onnx", "adapters/seven.safetensors"])
def test_a_link_out_of_the_bundle_is_refused(copied, name, tmp_path):
    outside = tmp_path / "outside"
    shutil.move(copied / name, outside)
    (copied / name).symlink_to(outside)
    refused(lambda: edgetune_runtime.load(copied), BundleError, "link")
    refused(lambda: edgetune_runtime.load(copied, verify=False), BundleError, "link")


def test_a_folder_that_links_out_of_the_bundle_is_refused(copied, tmp_path):
    shutil.move(copied / "adapters", tmp_path / "outside")
    (copied / "adapters").symlink_to(tmp_path / "outside")
    refused(lambda: edgetune_runtime.load(copied), BundleError, "link")


def test_links_within_the_bundle_and_a_link_to_it_are_followed(copied, tmp_path):
    (copied / "tokenizer.json").rename(copied / "real.json")
    (copied / "tokenizer.json").symlink_to("real.json")
    (tmp_path / "link").symlink_to(copied)
    assert edgetune_runtime.load(tmp_path / "link").kind == "decoder"


@pytest.mark.parametrize("name", ["tokenizer.json", "bundle.json", "adapters/seven.safetensors"])
def test_a_pipe_is_no_file_and_nothing_waits_for_it(copied, name):
    (copied / name).unlink()
    os.mkfifo(copied / name)
    refused(lambda: edgetune_runtime.load(copied), BundleError)


def test_links_in_a_circle_are_refused(copied):
    (copied / "tokenizer.json").unlink()
    (copied / "tokenizer.json").symlink_to("tokenizer.json")
    refused(lambda: edgetune_runtime.load(copied), BundleError)


@pytest.mark.parametrize("name", HOSTILE["manifests"])
def test_a_manifest_that_is_made_to_do_harm_is_refused(copied, name):
    text = text_of(HOSTILE["manifests"][name])
    (copied / "bundle.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    refused(lambda: edgetune_runtime.load(copied), BundleError, "bundle.json", len(text))


def test_a_key_that_is_there_twice_is_refused_at_any_depth(copied):
    text = (copied / "bundle.json").read_text("utf-8")
    for place in ('"graph": {', '"files": {', '"tokenizer": {'):
        assert place in text
        rewritten(copied, text.replace(place, place + '"x": 1, "x": 2, ', 1))
        refused(lambda: edgetune_runtime.load(copied), BundleError, "twice")


@pytest.mark.parametrize("key", ["vocab_size", "hidden_size", "embedding_size", "max_positions"])
@pytest.mark.parametrize("value", [2**31, 2**53, 2**63, 10**30, -1, 0, 1.5, True])
def test_sizes_that_cannot_be_are_refused_or_ask_for_no_memory(copied, harmless_bytes, key, value):
    manifest = manifest_of(copied)
    manifest["graph"][key] = value
    rewritten(copied, manifest)
    found = outcome_of(lambda: used(copied))
    assert found.error is None or isinstance(found.error, EdgetuneError), repr(found.error)
    assert found.peak_bytes <= MOST + harmless_bytes


def test_layers_that_the_graph_does_not_have_are_refused(copied):
    for change in ({"key_value_heads": 2**40}, {"head_size": 2**40}, {"head_size": 1}):
        manifest = manifest_of(SHARED)
        for layer in manifest["graph"]["layers"]:
            layer |= change
        rewritten(copied, manifest)
        refused(lambda: edgetune_runtime.load(copied, threads=1).generate("a", max_new_tokens=2))


def metadata():
    import safetensors

    with safetensors.safe_open(str(SHARED / "adapters/seven.safetensors"), framework="np") as file:
        return file.metadata()


@pytest.mark.parametrize("name", HOSTILE["adapters"])
def test_an_adapter_that_is_made_to_do_harm_is_refused(copied, name):
    data = adapter_of(HOSTILE["adapters"][name])
    path = copied / "adapters/seven.safetensors"
    listed(copied, "adapters/seven.safetensors", data)
    refused(lambda: edgetune_runtime.load(copied), EdgetuneError, str(path), len(data))
    model = edgetune_runtime.load(SHARED, threads=1)
    refused(lambda: model.add_adapter(path, "x"), EdgetuneError, "", len(data))


@pytest.mark.parametrize("name", HOSTILE["metadata"])
def test_metadata_that_is_made_to_do_harm_is_refused(copied, name):
    text = text_of(HOSTILE["metadata"][name])
    data = save(load_file(SHARED / "adapters/seven.safetensors"), {"edgetune": text})
    listed(copied, "adapters/seven.safetensors", data)
    refused(lambda: edgetune_runtime.load(copied), EdgetuneError, "metadata", len(data))


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.astype(np.float64), lambda x: x.astype(np.int64), lambda x: x[:, :, :, :-1],
        lambda x: x[:, :-1] if x.shape[1] > 1 else x[:, :0], lambda x: x[None], lambda x: np.full_like(x, np.nan),
        lambda x: np.full_like(x, np.inf), lambda x: x.reshape(-1),
    ],
)  # fmt: skip
def test_prefixes_of_other_shapes_types_and_numbers_are_refused(copied, change):
    tensors = load_file(SHARED / "adapters/seven.safetensors")
    name = next(x for x in sorted(tensors) if x.startswith("past_key_values"))
    tensors[name] = np.ascontiguousarray(change(tensors[name]))
    listed(copied, "adapters/seven.safetensors", save(tensors, metadata()))
    refused(lambda: edgetune_runtime.load(copied, threads=1).generate("a", adapter="seven", max_new_tokens=1))


def replaced(rules, **parts):
    """The golden tokenizer with other parts."""
    data = json.loads((SHARED / "tokenizer.json").read_text("utf-8"))
    return json.dumps({**data, **parts, "model": {**data["model"], **rules}}).encode()


def replacement(pattern, content):
    return {"type": "Replace", "pattern": pattern, "content": content}


TOKENIZERS = {
    "a text that doubles again and again": replaced({}, normalizer={
        "type": "Sequence", "normalizers": [replacement({"String": "a"}, "aa")] * 40}),
    "a letter that becomes a book": replaced({}, normalizer=replacement({"String": "a"}, "a" * 1_000_000)),
    "something out of nothing": replaced({}, normalizer=replacement({"Regex": ""}, "a" * 100_000)),
    "a long beginning": replaced({}, normalizer={"type": "Prepend", "prepend": "a" * 1_000_000}),
    "nested rules": replaced({}, normalizer=json.loads(
        '{"type":"Sequence","normalizers":[' * 60 + '{"type":"NFC"}' + "]}" * 60)),
    "an expression that does not end": replaced({}, pre_tokenizer={
        "type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}),
    "ids far apart": replaced({"vocab": {"a": 0, "b": 2**31}, "merges": []}, added_tokens=[
        {"id": 0, "content": "a", "special": True, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False}]),
    "deep": b'{"model":' * 100_000,
    "no tokenizer": b"[]",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE["tokenizers"])
def test_a_tokenizer_that_makes_a_short_text_a_huge_one_is_refused(copied, name):
    data = replaced({}, **HOSTILE["tokenizers"][name])
    listed(copied, "tokenizer.json", data)
    refused(lambda: used(copied), BundleError, "huge", len(data))


@pytest.mark.parametrize("data", TOKENIZERS.values(), ids=TOKENIZERS)
def test_a_tokenizer_that_blows_up_is_refused_or_bounded(copied, harmless_bytes, data):
    listed(copied, "tokenizer.json", data)
    found = outcome_of(lambda: used(copied))
    assert found.error is None or isinstance(found.error, EdgetuneError), repr(found.error)
    assert found.peak_bytes <= MOST + harmless_bytes + 8 * len(data)


def graph(location, *, key=b"location", order=1, nested=False):
    """An ONNX model by hand: y = x + w, the data of w in another file."""

    def part(number, data):
        length, size = len(data), b""
        while length >= 128:
            size, length = size + bytes([length & 127 | 128]), length >> 7
        return bytes([number << 3 | 2]) + size + bytes([length]) + data

    pieces = [part(1, key), part(2, location.encode())][::order]
    tensor = b"\x08\x04\x10\x01" + part(8, b"w") + part(13, b"".join(pieces)) + b"\x70\x01"
    value = part(1, b"x") + part(2, part(1, b"\x08\x01" + part(2, part(1, b"\x08\x04"))))
    node = part(1, b"x") + part(1, b"w") + part(2, b"y") + part(4, b"Add")
    if nested:  # the tensor of a constant, in an attribute
        constant = part(2, b"w") + part(4, b"Constant") + part(5, part(1, b"value") + part(5, tensor) + b"\xa0\x01\x04")
        whole = part(1, constant) + part(1, node)
    else:
        whole = part(1, node) + part(5, tensor)
    whole += part(2, b"g") + part(11, value) + part(12, value.replace(b"x", b"y", 1))
    return b"\x08\x08" + part(7, whole) + part(8, b"\x10\x11")


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("order", [1, -1])
def test_external_data_is_found_wherever_it_is_named(tmp_path, order, nested):
    (tmp_path / "w.bin").write_bytes(np.arange(4, dtype=np.float32).tobytes())
    (tmp_path / "m.onnx").write_bytes(graph("w.bin", order=order, nested=nested))
    assert external_files(tmp_path / "m.onnx") == {"w.bin"}
    if not nested:
        session = ort.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
        assert session.run(None, {"x": np.zeros(4, np.float32)})[0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "secret", "./secret", "a/../../secret", ""])
@pytest.mark.parametrize("order", [1, -1])
def test_a_graph_takes_weights_from_listed_files_alone(copied, location, order):
    (copied.parent / "secret").write_bytes(bytes(16))
    (copied / "secret").write_bytes(bytes(16))
    listed(copied, "model.onnx", graph(location, order=order))
    refused(lambda: edgetune_runtime.load(copied), BundleError, "does not list")
    refused(lambda: edgetune_runtime.load(copied, verify=False), BundleError, "does not list")


@pytest.mark.parametrize("end", [1, 7, 40, 90])
def test_a_graph_that_is_cut_off_is_refused(copied, end):
    listed(copied, "model.onnx", graph("model.onnx.data")[:-end])
    refused(lambda: edgetune_runtime.load(copied), BundleError)


def test_onnx_runtime_itself_takes_no_weights_from_outside(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "w.bin").write_bytes(bytes(16))
    (tmp_path / "b/m.onnx").write_bytes(graph("../w.bin"))
    with pytest.raises(Exception, match="escapes"):
        ort.InferenceSession(str(tmp_path / "b/m.onnx"), providers=["CPUExecutionProvider"])


def test_a_graph_that_the_manifest_does_not_list_is_not_loaded(copied):
    manifest = manifest_of(copied)
    manifest["graph"]["file"] = "other.onnx"
    shutil.copy(copied / "model.onnx", copied / "other.onnx")
    rewritten(copied, manifest)
    refused(lambda: edgetune_runtime.load(copied), BundleError, "does not list")


def test_operators_of_a_library_are_not_loaded(copied):
    data = graph("model.onnx.data").replace(b"Add", b"Foo")
    listed(copied, "model.onnx", data)
    listed(copied, "ops.so", b"\x7fELF")
    refused(lambda: edgetune_runtime.load(copied), BundleError, "cannot open the graph")


def test_json_says_a_key_once_and_numbers_that_every_language_has():
    assert json_from(b'{"a": [1, -2.5, null, "x"]}') == {"a": [1, -2.5, None, "x"]}
    for text in ('{"a": 1, "a": 1}', "[1e1", "NaN", str(2**53 + 1), "[" * 9999, '"' + "a" * (3 << 20) + '"'):
        with pytest.raises(ValueError):
            json_from(text)


def test_no_archive_is_unpacked(copied, tmp_path):
    bomb = base64.b64decode("UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA==")
    (tmp_path / "bundle.zip").write_bytes(bomb)
    refused(lambda: edgetune_runtime.load(tmp_path / "bundle.zip"), BundleError, "Unpack")
