"""A store with trusted keys uses what one of them has signed, under the name and the version that are signed."""

import shutil
from functools import partial
from pathlib import Path

import edgetune_runtime
import pytest
from edgetune_runtime import AdapterError, AdapterStore, BundleError, OptionError, SignatureError
from edgetune_runtime.trusted_keys import PublicKey
from references.power import ends_before
from references.signing import Key

from .test_store import BUNDLE, adapter_file, written


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    return Key(folder, "old"), Key(folder, "new")


@pytest.fixture
def signed(tmp_path):
    """An adapter's bytes and their signature."""

    def make(seed, version, key, name="news"):
        path = tmp_path / "made.safetensors"
        path.write_bytes(adapter_file(seed, version, name))
        return path.read_bytes(), key.sign(path).read_bytes()

    return make


def model():
    return edgetune_runtime.load(BUNDLE, threads=1)


def store(folder, *keys):
    """A store over a fresh model, as at the next start of the app, and the model."""
    base = model()
    return AdapterStore(folder, base, trusted_keys=[x.public for x in keys] if keys else None), base


def in_use(folder, *keys):
    found, base = store(folder, *keys)
    return found.versions["news"][0].version if "news" in base.adapters else None


def test_what_is_signed_is_installed_and_in_use_again_after_a_restart(tmp_path, keys, signed):
    folder = tmp_path / "store"
    found, base = store(folder, *keys)
    for version, key in ((1, keys[0]), (2, keys[1]), (3, keys[1])):
        data, signature = signed(version, version, key)
        assert found.install(data, signature=signature).version == version
    names = sorted(x.name[:2] + x.suffix for x in (folder / "news").iterdir())
    assert names == ["2-.safetensors", "2-.sig", "3-.safetensors", "3-.sig", "ve.json"], "the last two, with theirs"
    expected = written(base)
    again, fresh = store(folder, *keys)
    assert written(fresh) == expected and not again.problems
    again.rollback("news")
    assert in_use(folder, *keys) == 2
    again.remove("news")
    assert [x.name for x in (folder / "news").iterdir()] == ["versions.json"]


def test_from_a_path_the_signature_is_beside_it(tmp_path, keys, signed):
    data, signature = signed(1, 1, keys[0])
    path = tmp_path / "download.safetensors"
    path.write_bytes(data)
    found, _ = store(tmp_path / "store", keys[0])
    with pytest.raises(SignatureError, match=r"download\.safetensors\.sig: is missing"):
        found.install(path)
    (tmp_path / "elsewhere").write_bytes(signature)
    assert found.install(path, signature=tmp_path / "elsewhere").version == 1
    shutil.copy(tmp_path / "elsewhere", tmp_path / "download.safetensors.sig")
    assert found.install(path).version == 1
    loose, _ = store(tmp_path / "loose")
    loose.install(path)
    assert in_use(tmp_path / "loose", keys[0]) == 1, "a store without keys keeps the signature for later"


def test_the_models_own_keys_count_where_the_store_has_none(tmp_path, keys, signed):
    bundle = shutil.copytree(BUNDLE, tmp_path / "bundle", ignore=shutil.ignore_patterns("*.sig"))
    keys[0].sign(bundle)
    base = edgetune_runtime.load(bundle, threads=1, trusted_keys=keys[0].public)
    found = AdapterStore(tmp_path / "store", base)
    with pytest.raises(SignatureError, match="is missing"):
        found.install(adapter_file(1, 1))
    data, signature = signed(1, 1, keys[1])
    with pytest.raises(SignatureError, match="is not trusted"):
        found.install(data, signature=signature)
    own = AdapterStore(tmp_path / "tasks", base, trusted_keys=keys[1].public)
    assert own.install(data, signature=signature).version == 1, "those of the store count before the model's"
    with pytest.raises(OptionError):
        AdapterStore(tmp_path / "none", base, trusted_keys=[])


def test_what_is_not_signed_changes_nothing(tmp_path, keys, signed):
    folder = tmp_path / "store"
    found, base = store(folder, keys[0])
    first = signed(1, 1, keys[0])
    found.install(first[0], signature=first[1])
    expected, before = written(base), sorted(folder.rglob("*"))
    data, signature = signed(2, 2, keys[0])
    foreign, unversioned = signed(2, 2, keys[1]), signed(2, None, keys[0])
    for given, options, words in (
        (data, {}, "signature: is missing"),
        (data, {"signature": b""}, "is no signature"),
        (data, {"signature": first[1]}, "is not the file that was signed"),
        (data[:-1] + bytes([data[-1] ^ 1]), {"signature": signature}, "is not the file that was signed"),
        (foreign[0], {"signature": foreign[1]}, "is not trusted"),
        (data, {"signature": signature, "name": "weather"}, "is an adapter 'news'"),
        (unversioned[0], {"signature": unversioned[1], "version": 2}, "no version"),
        (first[0], {"signature": signature}, "is not the file that was signed"),
    ):
        with pytest.raises(SignatureError, match=words):
            found.install(given, **options)
        assert written(base) == expected and sorted(folder.rglob("*")) == before
    with pytest.raises(AdapterError, match="failed its health check"):
        found.install(data, signature=signature, health=lambda *_: False)
    assert written(base) == expected and sorted(folder.rglob("*")) == before


def test_an_old_version_is_refused_although_its_signature_holds(tmp_path, keys, signed):
    found, _ = store(tmp_path / "store", keys[0])
    for version in (3, 5):
        data, signature = signed(version, version, keys[0])
        found.install(data, signature=signature)
    old, signature = signed(3, 3, keys[0])
    with pytest.raises(AdapterError, match="version 3 is not above 5"):
        found.install(old, signature=signature)
    with pytest.raises(AdapterError, match="says that it is version 3"):
        found.install(old, signature=signature, version=6)


def test_who_writes_to_the_folder_cannot_bring_in_what_is_not_signed(tmp_path, keys, signed):
    folder = tmp_path / "store"
    found, _ = store(folder, keys[0])
    for version in (1, 2):
        data, signature = signed(version, version, keys[0])
        found.install(data, signature=signature)
    place = folder / "news"
    (newest,) = place.glob("2-*.safetensors")
    signature = newest.with_name(newest.name + ".sig")
    good = signature.read_bytes()
    for harm in (None, b"", good[:-30], signed(2, 2, keys[1])[1]):
        signature.unlink() if harm is None else signature.write_bytes(harm)
        again, base = store(folder, keys[0])
        assert again.versions["news"][0].version == 1 and isinstance(again.problems["news"], SignatureError)
        assert "news" in base.adapters
        signature.write_bytes(good)
    assert in_use(folder, keys[0]) == 2
    (old,) = place.glob("1-*.safetensors")
    for suffix in ("", ".sig"):  # version 1 again, under the number of a newer one
        shutil.copy(f"{old}{suffix}", place / (old.name.replace("1-", "9-", 1) + suffix))
    (place / "versions.json").unlink()
    (place / "versions.json").write_text("{")
    again, base = store(folder, keys[0])
    assert "what is signed says version 1" in str(again.problems["news"])
    assert again.versions["news"][0].version == 2 and "news" in base.adapters
    shutil.copytree(place, folder / "weather")
    again, base = store(folder, keys[0])
    assert "weather" not in base.adapters and "is an adapter 'news'" in str(again.problems["weather"])


def test_a_rollback_to_what_is_not_trusted_leaves_what_is_in_use(tmp_path, keys, signed):
    found, _ = store(tmp_path / "store", *keys)
    for version, key in ((1, keys[0]), (2, keys[1])):
        data, signature = signed(version, version, key)
        found.install(data, signature=signature)
    again, base = store(tmp_path / "store", keys[1])
    expected = written(base)
    with pytest.raises(SignatureError, match="is not trusted"):
        again.rollback("news")
    assert written(base) == expected and [x.version for x in again.versions["news"]] == [2, 1]
    assert in_use(tmp_path / "store", keys[1]) == 2 and set(base.adapters) == {*model().adapters, "news"}


def test_unsigned_versions_are_not_used_once_keys_are_asked_for(tmp_path, keys, signed):
    found, _ = store(tmp_path)
    found.install(adapter_file(1, 1))
    again, base = store(tmp_path, keys[0])
    assert "news" not in base.adapters and isinstance(again.problems["news"], SignatureError)
    data, signature = signed(2, 2, keys[0])
    again.install(data, signature=signature)
    assert in_use(tmp_path, keys[0]) == 2 and not again.problems


def test_keys_are_rotated_without_a_gap(tmp_path, keys, signed):
    """Trust both, sign with the new, drop the old: at no start is there none in use."""
    old, new = keys
    folder = tmp_path / "store"
    data, by_old = signed(1, 1, old)
    _, by_new = signed(1, 1, new)
    store(folder, old)[0].install(data, signature=by_old)
    both, _ = store(folder, old, new)
    assert in_use(folder, old, new) == 1
    assert in_use(folder, new) is None, "dropped too early"
    assert both.install(data, signature=by_new).version == 1, "the same file, signed again"
    assert in_use(folder, new) == 1 and in_use(folder, old) is None
    late, base = store(folder, old)
    assert isinstance(late.problems["news"], SignatureError)
    late.install(data, signature=by_old)
    assert "news" in base.adapters and not late.problems


def test_an_update_that_ends_at_any_call_to_the_system_leaves_the_old_or_the_new(tmp_path, keys, signed, monkeypatch):
    first, second, third = (signed(x, x, keys[0]) for x in (1, 2, 3))
    seen = set()
    for fails_at in range(1, 80):
        folder = tmp_path / str(fails_at)
        found, _ = store(folder, keys[0])
        found.install(first[0], signature=first[1])
        ended, calls = ends_before(
            fails_at, partial(found.install, second[0], signature=second[1]), monkeypatch, "news"
        )
        version = in_use(folder, keys[0])
        assert version in (1, 2) and (version == 2 or not ended)
        seen.add(version)
        again, _ = store(folder, keys[0])
        assert again.install(third[0], signature=third[1]).version == 3, "and goes on"
        assert len(list((folder / "news").iterdir())) == 5
        if ended and calls < fails_at:
            break
    else:
        pytest.fail("the update never ended")
    assert seen == {1, 2}


def test_a_signature_is_checked_once_and_what_was_checked_is_used(tmp_path, keys, signed, monkeypatch):
    checked, verifies = [], PublicKey.verifies
    monkeypatch.setattr(PublicKey, "verifies", lambda self, *given: checked.append(1) or verifies(self, *given))
    found, base = store(tmp_path / "store", keys[0])
    for version in (1, 2):
        data, signature = signed(version, version, keys[0])
        found.install(data, signature=signature)
    assert len(checked) == 2, "an installation"
    expected = written(base)
    found.rollback("news")
    assert len(checked) == 3, "a rollback"
    data, signature = signed(3, 3, keys[0])
    found.install(data, signature=signature)
    expected = written(base)
    checked.clear()
    fresh, (path,) = model(), list((tmp_path / "store" / "news").glob("3-*.safetensors"))
    read_bytes = Path.read_bytes

    def exchanged(self):
        """The file becomes another one as soon as it was read."""
        was = read_bytes(self)
        if self == path and checked_before[0]:
            path.write_bytes(adapter_file(0, 3))
        checked_before[0] = checked_before[0] or self == path
        return was

    checked_before = [False]  # the first reading compares what is kept with what was installed
    monkeypatch.setattr(Path, "read_bytes", exchanged)
    AdapterStore(tmp_path / "store", fresh, trusted_keys=keys[0].public)
    assert len(checked) == 1 and read_bytes(path) == adapter_file(0, 3)
    assert written(fresh) == expected


def test_under_a_limit_an_adapter_of_a_store_is_compared_again_when_it_is_read(tmp_path, keys, signed):
    base = edgetune_runtime.load(BUNDLE, threads=1, adapter_memory_limit=0)
    found = AdapterStore(tmp_path / "store", base, trusted_keys=keys[0].public)
    data, signature = signed(1, 1, keys[0])
    found.install(data, signature=signature)
    assert written(base)
    (path,) = (tmp_path / "store" / "news").glob("*.safetensors")
    path.write_bytes(adapter_file(0, 1))
    with pytest.raises(BundleError, match="altered"):
        written(base)
