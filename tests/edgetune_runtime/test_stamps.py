"""Files with the stamp that they were compared with are not read again; an ordinary change is seen."""

import json
import os
import shutil

import edgetune_runtime
import pytest
from edgetune_runtime import BundleError, OptionError, SignatureError, stamps, verification
from references.signing import Key

from .conftest import GOLDEN


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A bundle, and a clock on which its files have been there for a while."""
    monkeypatch.setattr(stamps, "SETTLED_NS", 0)
    ignored = shutil.ignore_patterns("*.sig", "expected.json", "options.json")
    return shutil.copytree(GOLDEN / "decoder-shared", tmp_path / "bundle", ignore=ignored)


@pytest.fixture
def read(monkeypatch):
    """Names of the files that were compared with their hashes since the last look."""
    names = []
    real = verification.sha256_of
    monkeypatch.setattr(verification, "sha256_of", lambda path: (names.append(path.name), real(path))[1])

    def taken():
        found = sorted(names)
        names.clear()
        return found

    return taken


EAGER = ["model.new_positions.onnx", "model.onnx", "model.onnx.data", "tokenizer.json"]


def load(folder, cache, **options):
    return edgetune_runtime.load(folder, threads=1, verification_cache=cache, **options)


def altered(path, *, like=None):
    """Another byte, in place; with `like` its time of change is set back."""
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))
    if like is not None:
        os.utime(path, ns=(like.st_atime_ns, like.st_mtime_ns))


def test_the_second_start_reads_no_file_again(folder, tmp_path, read):
    load(folder, tmp_path / "cache")
    assert read() == EAGER
    model = load(folder, tmp_path / "cache")
    assert read() == []
    assert model.generate("once", max_new_tokens=2).token_ids
    assert len(list((tmp_path / "cache").iterdir())) == 1
    edgetune_runtime.load(folder, threads=1)
    assert read() == EAGER, "without a cache everything is read"
    copy = shutil.copytree(folder, tmp_path / "copy")
    load(copy, tmp_path / "cache")
    assert read() == EAGER, "another folder is another bundle"


@pytest.mark.parametrize("set_back", [False, True])
def test_what_changes_a_file_is_seen_also_where_its_time_is_set_back(folder, tmp_path, read, set_back):
    load(folder, tmp_path / "cache")
    read()
    path = folder / "model.onnx.data"
    altered(path, like=path.stat() if set_back else None)
    with pytest.raises(BundleError, match=r"model\.onnx\.data.*was altered"):
        load(folder, tmp_path / "cache")
    assert read() == ["model.onnx.data"]
    with pytest.raises(BundleError):
        load(folder, tmp_path / "cache")


def test_another_file_in_its_place_is_read(folder, tmp_path, read):
    load(folder, tmp_path / "cache")
    read()
    path = folder / "tokenizer.json"
    shutil.copy2(path, folder / "copy")
    os.replace(folder / "copy", path)
    load(folder, tmp_path / "cache")
    assert read() == ["tokenizer.json"]


def test_a_manifest_with_another_hash_asks_again(folder, tmp_path, read):
    load(folder, tmp_path / "cache")
    read()
    description = json.loads((folder / "bundle.json").read_bytes())
    description["files"]["tokenizer.json"]["sha256"] = "00" * 32
    (folder / "bundle.json").write_text(json.dumps(description))
    with pytest.raises(BundleError, match=r"tokenizer\.json"):
        load(folder, tmp_path / "cache")
    assert read() == ["tokenizer.json"]


def test_a_file_that_changed_a_moment_ago_has_no_stamp_yet(folder, tmp_path, read, monkeypatch):
    monkeypatch.setattr(stamps, "SETTLED_NS", 3600 * 10**9)
    for _ in range(2):
        load(folder, tmp_path / "cache")
        assert read() == EAGER
    path = folder / "model.onnx"
    now = max(path.stat().st_mtime_ns, path.stat().st_ctime_ns)
    assert stamps.stamp_of(path, now) is None and stamps.stamp_of(path, now + 3600 * 10**9) is not None
    assert stamps.stamp_of(folder / "none") is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format_version": 2}', "null", '{"format_version": 1, "bundle": 7}'])
def test_a_cache_that_cannot_be_read_or_written_only_costs_time(folder, tmp_path, read, text, caplog):
    load(folder, tmp_path / "cache")
    (path,) = (tmp_path / "cache").iterdir()
    path.write_text(text)
    read()
    load(folder, tmp_path / "cache")
    assert read() == EAGER
    (tmp_path / "file").touch()
    load(folder, tmp_path / "file" / "cache")
    assert read() == EAGER and "cannot be written" in caplog.text


def test_entries_of_another_form_are_not_believed(folder, tmp_path, read):
    load(folder, tmp_path / "cache")
    (path,) = (tmp_path / "cache").iterdir()
    said = json.loads(path.read_bytes())
    for entry in (None, 7, {}, {"sha256": said["files"]["model.onnx"]["sha256"], "stamp": None}):
        path.write_text(json.dumps({**said, "files": {**said["files"], "model.onnx": entry}}))
        read()
        load(folder, tmp_path / "cache")
        assert read() == ["model.onnx"]


def test_with_trusted_keys_signature_and_list_are_checked_at_every_start(folder, tmp_path, read):
    key, other = Key(tmp_path), Key(tmp_path, "other")
    key.sign(folder)
    load(folder, tmp_path / "cache", trusted_keys=key.public)
    everything = read()
    assert {"bundle.json", "seven.safetensors", *EAGER} <= set(everything)
    load(folder, tmp_path / "cache", trusted_keys=key.public)
    assert read() == []
    with pytest.raises(SignatureError, match="is not trusted"):
        load(folder, tmp_path / "cache", trusted_keys=other.public)
    altered(folder / "adapters" / "seven.safetensors")
    with pytest.raises(SignatureError, match=r"seven\.safetensors"):
        load(folder, tmp_path / "cache", trusted_keys=key.public)
    (folder / "more").touch()
    with pytest.raises(SignatureError, match="was not signed"):
        load(folder, tmp_path / "cache", trusted_keys=key.public)


def test_a_cache_and_no_comparison_do_not_go_together(folder, tmp_path):
    with pytest.raises(OptionError, match="verification_cache"):
        load(folder, tmp_path, verify=False)
