"""Adapters over the air: what works is never lost, at whatever moment something fails."""

import inspect
import json
import os
import signal
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path

import edgetune_runtime
import numpy as np
import pytest
from edgetune_runtime import AdapterError, AdapterStore
from references.power import ends_before
from safetensors import safe_open
from safetensors.numpy import save

from .conftest import GOLDEN

BUNDLE = GOLDEN / "decoder-shared"
SOURCE = BUNDLE / "adapters" / "three.safetensors"


def adapter_file(seed, version=None, name="news", **changes):
    """A prefix of the golden base's shape, with its own keys and values."""
    with safe_open(SOURCE, framework="np") as file:
        tensors = {x: file.get_tensor(x) for x in file.keys()}  # noqa: SIM118
        metadata = json.loads(file.metadata()["edgetune"])
    metadata |= {"name": name, **({} if version is None else {"version": version}), **changes}
    random = np.random.default_rng(seed)
    tensors = {x: random.normal(size=y.shape).astype(np.float32) for x, y in tensors.items()}
    return save(tensors, {"edgetune": json.dumps(metadata)})


def written(model, name="news"):
    return model.generate("once upon", adapter=name, max_new_tokens=8).token_ids


@pytest.fixture
def model():
    return edgetune_runtime.load(BUNDLE, threads=1)


@pytest.fixture(scope="module")
def expected():
    """What the files of the seeds 0 to 3 make the base write, each added by hand."""
    model, found = edgetune_runtime.load(BUNDLE, threads=1), []
    for seed in range(4):
        path = Path(os.environ.get("TMPDIR", "/tmp")) / f"edgetune-{os.getpid()}-{seed}.safetensors"
        path.write_bytes(adapter_file(seed))
        model.add_adapter(path, f"s{seed}")
        found.append(written(model, f"s{seed}"))
        path.unlink()
    assert len(set(map(tuple, found))) == 4, "each writes something of its own"
    return found


def test_versions_come_into_use_and_go_back(model, tmp_path, expected):
    store = AdapterStore(tmp_path / "store", model)
    assert dict(store.versions) == {} and "news" not in model.adapters
    for version in (1, 2, 5):
        installed = store.install(adapter_file(version % 3, version))
        assert installed.version == version and written(model) == expected[version % 3]
    assert [x.version for x in store.versions["news"]] == [5, 2], "the last two are kept"
    assert len(list((tmp_path / "store" / "news").glob("*.safetensors"))) == 2
    assert store.rollback("news").version == 2 and written(model) == expected[2]
    with pytest.raises(AdapterError, match="no version before"):
        store.rollback("news")
    for version in (5, 4):
        with pytest.raises(AdapterError, match=f"version {version} is not above 5"):
            store.install(adapter_file(0, version))
    assert store.install(adapter_file(0, 6)).version == 6
    assert store.install(adapter_file(0, 6)).version == 6, "what is in use is not installed again"
    assert [x.version for x in store.versions["news"]] == [6, 2]


def test_the_next_start_finds_what_was_in_use(model, tmp_path, expected):
    store = AdapterStore(tmp_path, model)
    store.install(adapter_file(1, 1))
    store.install(adapter_file(2, 1, name="other"))
    store.install(adapter_file(3), "a.b", version=7)
    fresh = edgetune_runtime.load(BUNDLE, threads=1)
    again = AdapterStore(tmp_path, fresh)
    assert {x: y[0].version for x, y in again.versions.items()} == {"news": 1, "other": 1, "a.b": 7}
    assert [written(fresh, x) for x in ("news", "other", "a.b")] == expected[1:4]
    with pytest.raises(AdapterError, match="not above 7"):
        again.install(adapter_file(0), "a.b", version=7)


def test_what_is_removed_is_gone_and_the_bundles_own_comes_back(model, tmp_path):
    own = written(model, "three")
    store = AdapterStore(tmp_path, model)
    store.install(adapter_file(1, 3, name="three"))
    store.install(adapter_file(1, 3))
    assert written(model, "three") != own
    store.remove("three")
    store.remove("news")
    assert written(model, "three") == own and "news" not in model.adapters and dict(store.versions) == {}
    assert not list(tmp_path.rglob("*.safetensors"))
    for call in (store.remove, store.rollback):
        with pytest.raises(AdapterError, match="no adapter 'news'"):
            call("news")
    with pytest.raises(AdapterError, match="not above 3"):
        AdapterStore(tmp_path, edgetune_runtime.load(BUNDLE, threads=1)).install(adapter_file(1, 3))


@pytest.mark.parametrize("damage", [lambda x: x[:-1], lambda x: x[:-1] + bytes([x[-1] ^ 1]), lambda x: b"", None])
def test_of_a_damaged_file_the_version_before_is_used(model, tmp_path, expected, damage, caplog):
    store = AdapterStore(tmp_path, model)
    store.install(adapter_file(1, 1))
    store.install(adapter_file(2, 2))
    (path,) = (tmp_path / "news").glob("2-*.safetensors")
    path.unlink() if damage is None else path.write_bytes(damage(path.read_bytes()))
    fresh = edgetune_runtime.load(BUNDLE, threads=1)
    again = AdapterStore(tmp_path, fresh)
    assert [x.version for x in again.versions["news"]] == [1] and written(fresh) == expected[1]
    assert "version 2 is missing or was altered" in caplog.text
    with pytest.raises(AdapterError, match="not above 2"):
        again.install(adapter_file(0, 2))


def test_a_rollback_to_a_file_that_was_lost_leaves_what_is_in_use(model, tmp_path, expected):
    store = AdapterStore(tmp_path, model)
    for version in (1, 2):
        store.install(adapter_file(version, version))
    (path,) = (tmp_path / "news").glob("1-*.safetensors")
    path.unlink()
    with pytest.raises(AdapterError, match="no such file"):
        store.rollback("news")
    assert written(model) == expected[2] and store.versions["news"][0].version == 2
    assert AdapterStore(tmp_path, edgetune_runtime.load(BUNDLE, threads=1)).versions["news"][0].version == 2


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format_version": 9}', '{"format_version": 1, "kept": [3]}', "\0"])
def test_without_its_list_the_newest_whole_file_is_used(model, tmp_path, expected, text):
    store = AdapterStore(tmp_path, model)
    store.install(adapter_file(1, 9))
    store.install(adapter_file(2, 10))
    (tmp_path / "news" / "versions.json").write_text(text)
    fresh = edgetune_runtime.load(BUNDLE, threads=1)
    again = AdapterStore(tmp_path, fresh)
    assert [x.version for x in again.versions["news"]] == [10, 9] and written(fresh) == expected[2]
    with pytest.raises(AdapterError, match="not above 10"):
        again.install(adapter_file(0, 10))


def test_one_that_the_model_does_not_take_is_a_problem_and_no_crash(model, tmp_path):
    store = AdapterStore(tmp_path, model)
    store.install(adapter_file(1, 1))
    other = edgetune_runtime.load(GOLDEN / "encoder-shared", threads=1)
    again = AdapterStore(tmp_path, other)
    assert isinstance(again.problems["news"], AdapterError) and "news" not in other.adapters


def infinite():
    with safe_open(SOURCE, framework="np") as file:
        tensors = {x: file.get_tensor(x).copy() for x in file.keys()}  # noqa: SIM118
        metadata = json.loads(file.metadata()["edgetune"])
    next(iter(tensors.values())).flat[3] = np.nan
    return save(tensors, {"edgetune": json.dumps({**metadata, "name": "news", "version": 9})})


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (b"", {}, "not a whole safetensors"),
        (adapter_file(1, 9)[:-4], {}, "not a whole safetensors"),
        (adapter_file(1, 9, base_fingerprint="sha256:other"), {}, "sha256:other"),
        (adapter_file(1), {}, "says no version"),
        (adapter_file(1, 9), {"version": 8}, "says that it is version 9"),
        (adapter_file(1), {"version": -1}, "whole number"),
        (adapter_file(1, 9), {"name": "../up"}, "cannot name"),
        (adapter_file(1, 9), {"name": "x.candidate"}, "cannot name"),
        (infinite(), {}, "no number"),
        (SOURCE.with_name("nothing"), {}, "cannot be read"),
    ],
)
def test_what_is_no_update_changes_nothing(model, tmp_path, expected, data, options, message):
    store = AdapterStore(tmp_path, model)
    store.install(adapter_file(1, 1))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(AdapterError, match=message):
        store.install(data, **options)
    assert written(model) == expected[1] and sorted(tmp_path.rglob("*")) == before
    assert set(model.adapters) == {*edgetune_runtime.load(BUNDLE, threads=1).adapters, "news"}


def throws(model, name):
    raise RuntimeError("ill")


@pytest.mark.parametrize(
    ("health", "message"),
    [
        (throws, "ill"),
        (lambda model, name: False, "failed"),
        (lambda model, name: 0.5 if name == "news" else 0.4, "0.4.*0.5"),
        (lambda model, name: 0.5 if name == "news" else float("nan"), "nan"),
    ],
)
def test_one_that_is_not_well_does_not_come_into_use(model, tmp_path, expected, health, message):
    store = AdapterStore(tmp_path, model)
    store.install(adapter_file(1, 1), health=lambda model, name: 0.1)
    with pytest.raises(AdapterError, match=message):
        store.install(adapter_file(2, 2), health=health)
    assert written(model) == expected[1] and [x.version for x in store.versions["news"]] == [1]
    assert store.install(adapter_file(2, 2), health=lambda m, n: len(written(m, n))).version == 2


def test_an_update_that_ends_at_any_call_to_the_system_leaves_the_old_or_the_new(tmp_path, expected, monkeypatch):
    """Each of the calls that touch the disk fails in turn, and with it all later ones."""
    seen = set()
    for fails_at in range(1, 60):
        folder = tmp_path / str(fails_at)
        store = AdapterStore(folder, edgetune_runtime.load(BUNDLE, threads=1))
        store.install(adapter_file(1, 1))
        ended, calls = ends_before(fails_at, partial(store.install, adapter_file(2, 2)), monkeypatch, "news")
        fresh = edgetune_runtime.load(BUNDLE, threads=1)
        again = AdapterStore(folder, fresh)
        version = again.versions["news"][0].version
        assert written(fresh) == expected[version] and (version == 2 or not ended)
        seen.add(version)
        assert again.install(adapter_file(3, 3)).version == 3, "and goes on"
        if ended and calls < fails_at:
            break
    else:
        pytest.fail("the update never ended")
    assert seen == {1, 2}


def test_a_process_killed_at_any_moment_leaves_the_old_or_the_new(tmp_path, expected):
    program = textwrap.dedent("""
        import sys, edgetune_runtime
        from tests_store import adapter_file
        store = edgetune_runtime.AdapterStore(sys.argv[1], edgetune_runtime.load(sys.argv[2], threads=1))
        version = store.versions["news"][0].version if store.versions else 0
        while True:
            version += 1
            store.install(adapter_file(version % 4, version))
            print(version, flush=True)
    """)
    (tmp_path / "tests_store.py").write_text(
        "import json\nimport numpy as np\nfrom safetensors import safe_open\nfrom safetensors.numpy import save\n"
        f"SOURCE = {str(SOURCE)!r}\n" + inspect.getsource(adapter_file)
    )
    random, last = np.random.default_rng(0), 0
    for _ in range(6):
        run = subprocess.Popen(
            [sys.executable, "-c", program, tmp_path / "store", BUNDLE], stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        )  # fmt: skip
        for _ in range(random.integers(1, 20)):
            last = int(run.stdout.readline())
        try:
            run.wait(float(random.uniform(0, 0.01)))
        except subprocess.TimeoutExpired:
            run.send_signal(signal.SIGKILL)
        last = max([last, *map(int, run.stdout.read().split())])
        run.wait()
        fresh = edgetune_runtime.load(BUNDLE, threads=1)
        version = AdapterStore(tmp_path / "store", fresh).versions["news"][0].version
        assert last <= version <= last + 1 and written(fresh) == expected[version % 4]


def test_a_place_that_cannot_be_a_folder_is_named(model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AdapterError, match="cannot be a store"):
        AdapterStore(tmp_path / "file", model)
