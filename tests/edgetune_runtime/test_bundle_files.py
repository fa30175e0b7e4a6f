"""Whole bundles load, altered ones do not, and adapters come and go in memory alone; over the golden bundles."""

import json
import shutil

import edgetune_runtime
import pytest
from edgetune_runtime import AdapterError, BaseMismatchError, BundleError, OptionError


@pytest.fixture
def copied(bundle_folder, tmp_path):
    """A copy of the bundle to do harm to."""
    return shutil.copytree(bundle_folder, tmp_path / "bundle")


def adapter_paths(model, folder):
    return {name: folder / file for name, file in model.manifest.adapters.items()}


def test_a_model_says_what_it_is(bundle):
    assert (bundle.kind, bundle.task) in {("encoder", "classify"), ("decoder", "generate")}
    for name, info in bundle.adapters.items():
        assert info.name == name and info.task == bundle.task and info.virtual_tokens >= 0
        assert bool(info.labels) == (bundle.task == "classify")
        assert (info.size_bytes > 0) == (bundle.manifest.form == "shared")
    with pytest.raises(TypeError):
        bundle.adapters["new"] = None


def test_an_altered_file_is_refused_by_name(copied):
    names = json.loads((copied / "bundle.json").read_text("utf-8"))["files"]
    for name in names:
        path = copied / name
        data = path.read_bytes()
        for harm, words in ((data[:-1] + bytes([data[-1] ^ 1]), "SHA-256"), (data[:-1], "bytes"), (None, "missing")):
            path.unlink() if harm is None else path.write_bytes(harm)
            with pytest.raises(BundleError, match=words) as caught:
                model = edgetune_runtime.load(copied)
                model.adapter_named(path.stem)  # an adapter's bytes are looked at when it is first used
            assert path.name in str(caught.value)
        path.write_bytes(data)
    edgetune_runtime.load(copied)


def test_an_altered_adapter_is_used_where_nobody_compares(copied):
    if not (copied / "adapters").exists():
        pytest.skip("no adapter files")
    path = next((copied / "adapters").glob("*"))
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert edgetune_runtime.load(copied, verify=False).adapter_named(path.stem) is not None


def test_a_manifest_cut_short_is_refused(copied):
    path = copied / "bundle.json"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BundleError, match=r"bundle\.json"):
        edgetune_runtime.load(copied)


def test_a_graph_that_is_none_is_refused_by_name(copied):
    manifest = json.loads((copied / "bundle.json").read_text("utf-8"))
    path = copied / manifest["graph"]["file"]
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(BundleError, match=path.name):
        edgetune_runtime.load(copied, verify=False)


def test_threads_are_at_least_one(bundle_folder):
    edgetune_runtime.load(bundle_folder, threads=2)
    with pytest.raises(OptionError, match="threads"):
        edgetune_runtime.load(bundle_folder, threads=0)


def test_an_adapter_is_added_under_a_free_name(bundle, bundle_folder):
    model = edgetune_runtime.load(bundle_folder, threads=1)
    if model.manifest.form == "standalone":
        with pytest.raises(AdapterError, match="standalone"):
            model.add_adapter(bundle_folder / "any.safetensors")
        return
    for name, path in adapter_paths(model, bundle_folder).items():
        with pytest.raises(AdapterError, match="replace=True"):
            model.add_adapter(path, name)
        assert model.add_adapter(path, name, replace=True).name == name
        info = model.add_adapter(path, f"{name}-again")
        assert model.adapters[info.name] == info
        assert list(model.adapters)[-1] == info.name
        call = model.classify if model.task == "classify" else model.generate
        options = {} if model.task == "classify" else {"max_new_tokens": 5}
        first, second = call(["a soft prompt"] * 2, adapter=[name, info.name], **options)
        found = [(x.label, x.score) if model.task == "classify" else (x.text, x.token_ids) for x in (first, second)]
        assert found[0] == found[1]


def test_an_adapter_of_another_base_is_refused(copied):
    manifest = json.loads((copied / "bundle.json").read_text("utf-8"))
    own = manifest["base"]["fingerprint"]
    manifest["base"]["fingerprint"] = "sha256:" + "0" * 64
    (copied / "bundle.json").write_text(json.dumps(manifest), "utf-8")
    if not manifest["adapters"]:
        pytest.skip("no adapter files")
    with pytest.raises(BaseMismatchError, match=f"{own}.*sha256:{'0' * 64}"):
        edgetune_runtime.load(copied)


def test_loading_prints_nothing(bundle_folder, capfd):
    edgetune_runtime.load(bundle_folder, threads=1)
    assert capfd.readouterr() == ("", "")
