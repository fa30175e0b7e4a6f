"""With trusted keys nothing is loaded that one of them has not signed: no bundle, no adapter, no altered file."""

import json
import os
import random
import shutil
import subprocess
import sys
import textwrap

import edgetune_runtime
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from edgetune_runtime import AdapterError, BaseMismatchError, BundleError, OptionError, SignatureError
from references.signing import Key, statement_of

from .conftest import GOLDEN


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    return Key(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return Key(tmp_path_factory.mktemp("keys"), "other")


@pytest.fixture
def signed(bundle_folder, tmp_path, key):
    """A signed copy of a golden bundle."""
    folder = tmp_path / "bundle"
    shutil.copytree(bundle_folder, folder, ignore=shutil.ignore_patterns("*.sig"))
    key.sign(folder)
    return folder


@pytest.fixture
def adapter(tmp_path, key):
    """A signed adapter of the decoder's bundle."""
    path = tmp_path / "news.safetensors"
    shutil.copy(GOLDEN / "decoder-shared" / "adapters" / "seven.safetensors", path)
    key.sign(path)
    return path


@pytest.fixture
def decoder_bundle(tmp_path, key):
    folder = tmp_path / "decoder"
    shutil.copytree(GOLDEN / "decoder-shared", folder, ignore=shutil.ignore_patterns("*.sig"))
    key.sign(folder)
    return folder


def load(folder, *keys, **options):
    return edgetune_runtime.load(folder, threads=1, trusted_keys=[x.public for x in keys], **options)


def test_a_signed_bundle_answers_as_the_unsigned_one(signed, bundle, key, other):
    model = load(signed, other, key)
    call = "classify" if model.task == "classify" else "generate"
    options = {} if call == "classify" else {"max_new_tokens": 8}
    ours, theirs = (getattr(x, call)("what is the weather", **options) for x in (model, bundle))
    assert ours == theirs if call == "classify" else ours.token_ids == theirs.token_ids
    found = edgetune_runtime.verify(signed, key.public)
    assert found.key.hint == key.hint and "model.sig" not in found.files and "bundle.json" in found.files


def test_what_is_not_signed_is_refused(signed, key, other):
    for keys in ([other], [other, other]):
        with pytest.raises(SignatureError, match=r"model\.sig.*is not trusted"):
            load(signed, *keys)
    (signed / "model.sig").unlink()
    with pytest.raises(SignatureError, match=r"model\.sig: is missing"):
        load(signed, key)
    edgetune_runtime.load(signed)


def test_every_file_that_was_changed_added_or_taken_away_is_refused_by_name(signed, key):
    names = [x.relative_to(signed) for x in signed.rglob("*") if x.is_file() and x.name != "model.sig"]
    assert len(names) > 3
    for name in names:
        path = signed / name
        data = path.read_bytes()
        for harm in (data[:-1] + bytes([data[-1] ^ 1]), data[:-1], data + b" ", b"", None):
            path.unlink() if harm is None else path.write_bytes(harm)
            for call in (load, lambda folder, x: edgetune_runtime.verify(folder, x.public)):
                with pytest.raises(BundleError, match=name.name.replace(".", r"\.")) as caught:
                    call(signed, key)
                assert isinstance(caught.value, SignatureError) or (harm is None and name.name == "bundle.json")
        path.write_bytes(data)
    for added in ("more.bin", "adapters/more.safetensors", "new/lib.so", "model.sig.bak", ".gitattributes2"):
        path = signed / added
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
        with pytest.raises(SignatureError, match="was not signed"):
            load(signed, key)
        path.unlink()
    (signed / ".gitattributes").write_bytes(b"model_signing passes over it")
    load(signed, key)


def test_links_and_pipes_count_as_files(signed, key, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").touch()
    for make in (
        lambda x: x.symlink_to(tmp_path / "elsewhere"),
        lambda x: x.symlink_to("nowhere"),
        lambda x: x.symlink_to(signed / "bundle.json"),
        os.mkfifo,
    ):
        make(signed / "more")
        with pytest.raises(SignatureError, match="more: was not signed"):
            load(signed, key)
        (signed / "more").unlink()
    load(signed, key)


def signed_by_hand(folder, key, files, ignored=()):
    """A signature of `files` alone, which a trusted signer made by mistake."""
    statement = statement_of({x: (folder / x).read_bytes() for x in files})
    statement["predicate"]["serialization"]["ignore_paths"] = list(ignored)
    (folder / "model.sig").write_text(json.dumps(key.sign_statement(statement)))


@pytest.mark.skipif(os.name == "nt", reason="pipes are made otherwise there")
@pytest.mark.parametrize("name", ["model.sig", "bundle.json", "tokenizer.json"])
def test_a_pipe_in_place_of_a_file_keeps_nobody(signed, key, name):
    (signed / name).unlink()
    os.mkfifo(signed / name)
    with pytest.raises(SignatureError, match=name.replace(".", r"\.")):
        edgetune_runtime.verify(signed, key.public)


def test_a_bundle_whose_manifest_lists_other_files_than_are_signed_is_refused(signed, key):
    everything = [x.relative_to(signed).as_posix() for x in signed.rglob("*") if x.is_file() and x.name != "model.sig"]
    description = json.loads((signed / "bundle.json").read_bytes())
    graph = description["graph"]["file"]
    signed_by_hand(signed, key, everything)
    load(signed, key)
    signed_by_hand(signed, key, [x for x in everything if x != graph], ignored=[graph])
    with pytest.raises(SignatureError, match=rf"bundle\.json: lists '{graph}' otherwise than it was signed"):
        load(signed, key)
    description["files"][graph]["sha256"] = "00" * 32
    (signed / "bundle.json").write_text(json.dumps(description))
    signed_by_hand(signed, key, everything)
    with pytest.raises(SignatureError, match=rf"bundle\.json: lists '{graph}' otherwise than it was signed"):
        load(signed, key)


def test_what_the_signer_passed_over_may_change_and_is_never_loaded(signed, key, tmp_path):
    (signed / "model.sig").unlink()
    (signed / "notes").mkdir()
    (signed / "notes" / "a.txt").write_text("one")
    key.sign(signed, ignored=("notes",))
    (signed / "notes" / "a.txt").write_text("two")
    (signed / "notes" / "b.txt").write_text("three")
    load(signed, key)
    (signed / "notes.txt").write_text("another")
    with pytest.raises(SignatureError, match=r"notes\.txt: was not signed"):
        load(signed, key)


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()], ids=lambda x: x.name)
def test_other_curves_sign_too(tmp_path, curve):
    key = Key(tmp_path, "wide", curve)
    folder = shutil.copytree(GOLDEN / "encoder-shared", tmp_path / "bundle", ignore=shutil.ignore_patterns("*.sig"))
    key.sign(folder)
    assert load(folder, key).classify("rain").label


def test_nothing_is_opened_before_it_is_compared(decoder_bundle, key, monkeypatch):
    def opened(*_):
        raise AssertionError("opened")

    for name in ("open_session", "read_tokenizer", "stored_adapter"):
        monkeypatch.setattr(f"edgetune_runtime.loading.{name}", opened)
    path = decoder_bundle / "adapters" / "three.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(SignatureError, match=r"three\.safetensors"):
        load(decoder_bundle, key)
    monkeypatch.setattr("edgetune_runtime.signed_files.manifest_in", opened)
    (decoder_bundle / "bundle.json").write_bytes(b"{}")
    with pytest.raises(SignatureError, match=r"bundle\.json"):
        load(decoder_bundle, key)


def test_trusted_keys_and_no_comparison_do_not_go_together(signed, key):
    with pytest.raises(OptionError, match="verify"):
        load(signed, key, verify=False)
    with pytest.raises(OptionError, match="is empty"):
        load(signed)


def test_random_bytes_changed_anywhere_are_never_accepted(tmp_path, key):
    folder = shutil.copytree(GOLDEN / "encoder-shared", tmp_path / "bundle", ignore=shutil.ignore_patterns("*.sig"))
    key.sign(folder, ignored=("expected.json",))
    (folder / "expected.json").unlink()
    paths, draw = sorted(x for x in folder.rglob("*") if x.is_file()), random.Random(1)
    for _ in range(300):
        path = draw.choice(paths)
        data = path.read_bytes()
        at = draw.randrange(len(data))
        path.write_bytes(data[:at] + bytes([data[at] ^ (1 << draw.randrange(8))]) + data[at + 1 :])
        with pytest.raises(BundleError):
            edgetune_runtime.verify(folder, key.public)
        path.write_bytes(data)
    edgetune_runtime.verify(folder, key.public)


class TestAdapter:
    def test_that_is_signed_is_added_from_beside_or_from_what_is_given(self, decoder_bundle, adapter, key):
        model = load(decoder_bundle, key)
        beside = adapter.with_name("news.safetensors.sig")
        model.add_adapter(adapter, "one")
        moved = beside.rename(beside.with_name("elsewhere.sig"))
        model.add_adapter(adapter, "two", signature=moved)
        model.add_adapter(adapter, "three", replace=True, signature=moved.read_bytes())
        expected = model.generate("once", adapter="seven", max_new_tokens=6).token_ids
        assert all(
            model.generate("once", adapter=x, max_new_tokens=6).token_ids == expected for x in ("one", "two", "three")
        )
        found = edgetune_runtime.verify(adapter.read_bytes(), key.pem, signature=moved)
        assert found == edgetune_runtime.verify(adapter, key.pem, signature=moved.read_bytes())
        with pytest.raises(SignatureError, match="signature"):
            edgetune_runtime.verify(adapter.read_bytes(), key.pem)

    def test_that_is_not_signed_is_refused_and_nothing_changes(self, decoder_bundle, adapter, key, other):
        model = load(decoder_bundle, key)
        before, data = dict(model.adapters), adapter.read_bytes()
        beside = adapter.with_name("news.safetensors.sig")
        good = beside.read_bytes()
        adapter.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(SignatureError, match=r"news\.safetensors: is not the file that was signed"):
            model.add_adapter(adapter, "x")
        adapter.write_bytes(data)
        for signature, words in (
            ((decoder_bundle / "model.sig").read_bytes(), "is of a folder"),
            (b"", "is no signature"),
            (other.sign(adapter).read_bytes(), "is not trusted"),
        ):
            with pytest.raises(SignatureError, match=words):
                model.add_adapter(adapter, "x", signature=signature)
        beside.unlink()
        with pytest.raises(AdapterError, match=r"news\.safetensors\.sig: is missing"):
            model.add_adapter(adapter, "x")
        assert model.adapters == before
        edgetune_runtime.load(decoder_bundle).add_adapter(adapter, "x")
        model.add_adapter(adapter, "x", signature=good)

    def test_of_another_base_is_refused_although_it_is_signed(self, decoder_bundle, tmp_path, key):
        path = tmp_path / "weather.safetensors"
        shutil.copy(GOLDEN / "encoder-shared" / "adapters" / "weather.safetensors", path)
        key.sign(path)
        with pytest.raises(BaseMismatchError):
            load(decoder_bundle, key).add_adapter(path)

    def test_may_be_asked_for_a_signature_alone(self, decoder_bundle, adapter, key, other):
        model = edgetune_runtime.load(decoder_bundle, threads=1)
        with pytest.raises(SignatureError, match="is not trusted"):
            model.add_adapter(adapter, "x", trusted_keys=other.public)
        model.add_adapter(adapter, "x", trusted_keys=key.public)

    def test_under_a_limit_is_compared_again_when_it_is_read(self, decoder_bundle, adapter, key):
        model = load(decoder_bundle, key, adapter_memory_limit=0)
        model.add_adapter(adapter, "x")
        data = adapter.read_bytes()
        adapter.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(BundleError, match="was altered"):
            model.generate("once", adapter="x", max_new_tokens=1)


def test_keys_are_rotated_without_a_gap(tmp_path):
    """Devices trust both keys, then bundles and adapters are signed with the new one, then devices drop the old."""
    old, new = Key(tmp_path, "old"), Key(tmp_path, "new")
    folder = shutil.copytree(GOLDEN / "decoder-shared", tmp_path / "bundle", ignore=shutil.ignore_patterns("*.sig"))
    adapter = tmp_path / "news.safetensors"
    shutil.copy(folder / "adapters" / "seven.safetensors", adapter)

    def works(*keys):
        try:
            load(folder, *keys).add_adapter(adapter, "news")
        except SignatureError:
            return False
        return True

    devices = {"before": [old], "meanwhile": [old, new], "after": [new]}
    for signer, accepted in ((old, {"before", "meanwhile"}), (new, {"meanwhile", "after"})):
        signer.sign(folder)
        signer.sign(adapter)
        assert {name for name, keys in devices.items() if works(*keys)} == accepted


def test_without_cryptography_the_extra_is_named(decoder_bundle, key):
    code = f"""
        import sys
        sys.modules["cryptography"] = None
        import edgetune_runtime
        edgetune_runtime.load({str(decoder_bundle)!r})
        try:
            edgetune_runtime.load({str(decoder_bundle)!r}, trusted_keys={str(key.public)!r})
        except edgetune_runtime.MissingExtraError as error:
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert "pip install edgetune-runtime[signatures]" in done.stdout, done.stderr


def test_what_a_killed_signer_left_is_no_reason_to_refuse_what_was_signed(signed, key):
    (signed / ".model.sig.partial-0123abcd").write_bytes(b"{")
    edgetune_runtime.load(signed, threads=1, trusted_keys=key.public)
