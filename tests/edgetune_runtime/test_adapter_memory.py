"""Adapters' tensors are read at their first use, shared, and let go by least use; over a golden bundle's adapters."""

import gc
import shutil
import threading
import weakref

import edgetune_runtime
import numpy as np
import pytest
from edgetune_runtime import AdapterError, BundleError, OptionError
from edgetune_runtime.adapter_memory import AdapterMemory
from edgetune_runtime.stored_adapter import StoredAdapter, read_adapter, stored_adapter
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from .conftest import GOLDEN

FOLDER = GOLDEN / "decoder-shared"


@pytest.fixture(scope="module")
def manifest():
    return edgetune_runtime.load(FOLDER, threads=1).manifest


@pytest.fixture
def stored(manifest):
    """The bundle's adapters, on the disk."""
    return [stored_adapter(FOLDER / file, manifest, name) for name, file in manifest.adapters.items()]


@pytest.fixture
def reads(monkeypatch):
    """Names of adapters in the order in which their files are read."""
    found, read = [], StoredAdapter.read

    def counted(self, **options):
        found.append(self.info.name)
        return read(self, **options)

    monkeypatch.setattr(StoredAdapter, "read", counted)
    return found


def test_loading_reads_no_tensors_and_a_call_reads_its_own(reads):
    model = edgetune_runtime.load(FOLDER, threads=1)
    names = list(model.adapters)
    assert model.loaded_adapters == () and len(names) > 1
    model.generate("once", adapter=names[1], max_new_tokens=2)
    model.generate(["once", "upon"], adapter=names[1], max_new_tokens=2)
    assert reads == [names[1]] and model.loaded_adapters == (names[1],)


def test_mapped_tensors_are_those_of_a_file_that_is_read_whole(stored, manifest):
    for adapter in stored:
        mapped, whole = adapter.read(), read_adapter(adapter.path, manifest)
        assert mapped.past and mapped.size_bytes == whole.size_bytes
        for a, b in zip(mapped.past, whole.past, strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == np.float32 and not a.flags.writeable and not a.flags.owndata


@pytest.mark.parametrize("bundle", ["decoder-shared", "encoder-shared"])
def test_tensors_in_half_precision_stay_in_the_file_and_answer_as_float32_ones(bundle, tmp_path):
    folder = GOLDEN / bundle
    model = edgetune_runtime.load(folder, threads=1)
    for name, file in model.manifest.adapters.items():
        with safe_open(str(folder / file), framework="np") as opened:
            metadata = opened.metadata()
        half = {key: x.astype(np.float16) for key, x in load_file(folder / file).items()}
        save_file(half, tmp_path / "half.safetensors", metadata=metadata)
        save_file({key: x.astype(np.float32) for key, x in half.items()}, tmp_path / "wide.safetensors", metadata)
        for kind in ("half", "wide"):
            model.add_adapter(tmp_path / f"{kind}.safetensors", f"{name} {kind}")
        adapter = model.adapter_named(f"{name} half")
        every = [*adapter.past, *(() if adapter.prompt is None else (adapter.prompt,)), adapter.head_weight]
        assert all(x.dtype == np.float16 and not x.flags.owndata for x in every if x.size)
        assert told(model, f"{name} half") == told(model, f"{name} wide")


def told(model, adapter):
    if model.kind == "encoder":
        return model.class_logits([[5, 6, 7], [9]], adapter).tolist()
    found = model.generate("once upon a time", adapter=adapter, max_new_tokens=12, logprobs=2)
    logits = model.logits([4, 5, 6], adapter=adapter)
    return found.token_ids, [x.logprob for x in found.logprobs], logits.tolist()


def test_the_least_recently_used_are_let_go(stored, reads):
    one, two, three, *_ = stored
    sizes = {x: x.read().size_bytes for x in stored}
    reads.clear()
    memory = AdapterMemory(sizes[one] + sizes[two])
    for x in (one, two, one):
        memory.tensors_of(x)
    assert memory.held == [two, one] and memory.held_bytes == sizes[one] + sizes[two]
    memory = AdapterMemory(sizes[one] + sizes[three])
    for x in (one, two, one, three):
        memory.tensors_of(x)
        assert memory.held_bytes == sum(sizes[y] for y in memory.held) <= memory.limit_bytes
    assert memory.held[-1] is three and two not in memory.held


def test_what_a_call_uses_is_shared_after_it_was_let_go(stored, reads):
    memory = AdapterMemory(0)
    used = memory.tensors_of(stored[0])
    assert memory.held == [] and memory.tensors_of(stored[0]) is used
    assert reads == [stored[0].info.name]
    gone = weakref.ref(used)
    del used
    gc.collect()
    assert gone() is None
    memory.tensors_of(stored[0])
    assert reads == [stored[0].info.name] * 2


def test_the_forgotten_are_not_held_again(stored):
    memory = AdapterMemory()
    used = memory.tensors_of(stored[0])
    memory.forget(stored[0])
    assert memory.held == [] and memory.held_bytes == 0
    assert memory.tensors_of(stored[0]) is used and memory.held == []


def test_threads_that_want_the_same_read_it_once(stored, reads):
    memory, found = AdapterMemory(), []
    barrier = threading.Barrier(8)

    def ask():
        barrier.wait()
        found.append(memory.tensors_of(stored[0]))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len(set(map(id, found))) == 1 and reads == [stored[0].info.name]


def test_under_a_limit_answers_are_the_same(reads):
    plain, tight = (edgetune_runtime.load(FOLDER, threads=1, adapter_memory_limit=x) for x in (None, 0))
    names = [*plain.adapters, None] * 2
    expected = [x.token_ids for x in plain.generate(["once upon"] * len(names), adapter=names, max_new_tokens=6)]
    assert [tight.generate("once upon", adapter=x, max_new_tokens=6).token_ids for x in names] == expected
    assert tight.loaded_adapters == () and set(plain.loaded_adapters) == set(plain.adapters)
    for wrong in (-1, 1.5, True):
        with pytest.raises(OptionError, match="adapter_memory_limit"):
            edgetune_runtime.load(FOLDER, adapter_memory_limit=wrong)


def test_an_added_file_may_go_unless_there_is_a_limit(tmp_path, manifest):
    name, file = next(iter(manifest.adapters.items()))
    for limit in (None, 0):
        path = shutil.copy(FOLDER / file, tmp_path / "late.safetensors")
        model = edgetune_runtime.load(FOLDER, threads=1, adapter_memory_limit=limit)
        model.add_adapter(path, "late")
        expected = model.generate("once upon", adapter=name, max_new_tokens=4).token_ids
        assert model.generate("once upon", adapter="late", max_new_tokens=4).token_ids == expected
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        if limit is None:
            assert model.generate("once upon", adapter="late", max_new_tokens=4).token_ids == expected
            continue
        with pytest.raises(BundleError, match=r"late\.safetensors.*altered"):
            model.generate("once upon", adapter="late", max_new_tokens=4)
        path.unlink()
        with pytest.raises(AdapterError, match=r"late\.safetensors.*no such file"):
            model.generate("once upon", adapter="late", max_new_tokens=4)


def test_an_adapter_is_removed_and_its_name_is_free(manifest):
    model = edgetune_runtime.load(FOLDER, threads=1)
    name = next(x for x in model.adapters if x != model.default_adapter)
    stream = model.stream("once upon", adapter=name, max_new_tokens=5)
    expected = model.generate("once upon", adapter=name, max_new_tokens=5).text
    first = next(stream).text
    model.remove_adapter(name)
    assert first + "".join(chunk.text for chunk in stream) == expected
    assert name not in model.adapters and name not in model.loaded_adapters
    for call in (lambda: model.generate("once", adapter=name), lambda: model.remove_adapter(name)):
        with pytest.raises(AdapterError, match=f"no adapter {name!r}"):
            call()
    model.add_adapter(FOLDER / manifest.adapters[name], name)
    assert model.generate("once upon", adapter=name, max_new_tokens=5).text == expected


def test_what_the_bundle_itself_names_is_not_removed(tmp_path):
    folder = shutil.copytree(FOLDER, tmp_path / "bundle")
    path = folder / "bundle.json"
    text = path.read_text("utf-8")
    names = list(edgetune_runtime.load(folder, threads=1).adapters)
    path.write_text(text.rstrip()[:-1] + f', "ensembles": {{"all": {{"adapters": ["{names[1]}"]}}}}}}', "utf-8")
    model = edgetune_runtime.load(folder, threads=1)
    assert model.default_adapter == names[0]
    with pytest.raises(AdapterError, match=f"{names[0]!r} is the bundle's default"):
        model.remove_adapter(names[0])
    with pytest.raises(AdapterError, match=f"{names[1]!r} is a member of the bundle's ensemble 'all'"):
        model.remove_adapter(names[1])
    standalone = edgetune_runtime.load(GOLDEN / "decoder-standalone", threads=1)
    with pytest.raises(AdapterError, match="standalone"):
        standalone.remove_adapter(next(iter(standalone.adapters)))
