"""`edgetune export`, `evaluate`, `run`, `inspect` and `add-adapter`, on bundles that they made themselves."""

import errno
import io
import json
import os
import re
import shutil
from pathlib import Path

import edgetune_runtime
import pytest
import torch

from edgetune.adapter import load_adapter, tuned_from

from ..tiny import base_of, saved

GOLDEN = Path(__file__).parents[2] / "golden"


def changed(path, at=-1):
    """One bit of the file is another, its length the same."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


@pytest.fixture(scope="session")
def stranger(trained, tmp_path_factory):
    """Another BERT's adapter: shapes fit, the fingerprint does not."""
    other, folder = base_of("bert", seed=1), tmp_path_factory.mktemp("stranger") / "stranger"
    shutil.copytree(trained["classify", "prefix"], folder)
    text = json.loads((folder / "adapter.json").read_text())
    (folder / "adapter.json").write_text(json.dumps({**text, "base_fingerprint": other.fingerprint}))
    return folder, other.fingerprint


# export


def test_an_export_tells_sizes_differences_and_what_comes_next(cli, folders, trained, tmp_path):
    given = f"mood={trained['classify', 'prompt']}"
    found = cli("export", "--model", folders("bert"), "--adapter", given, "--out", tmp_path / "b", "--standalone")
    assert found.code == 0
    worst = float(re.search(r"largest difference of logits (\S+):", found.err)[1])
    assert worst < 1e-4 and "mood, batch of mixed lengths" in found.err and "model.onnx" in found.err
    assert f"next: edgetune run {tmp_path / 'b'}" in found.err
    assert list(edgetune_runtime.load(tmp_path / "b").adapters) == ["mood"]


def test_an_adapter_of_another_base_is_refused_with_both_fingerprints(refused, folders, stranger, base, tmp_path):
    folder, fingerprint = stranger
    message = refused("export", "--model", folders("bert"), "--adapter", folder, "--out", tmp_path / "made" / "b")
    assert fingerprint in message and base("bert").fingerprint in message and "'stranger'" in message
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("options, told", [
    (["--precision", "int3"], "precision 'int3' is not known; choose fp32"),
    (["--standalone"], "--standalone folds exactly one adapter into the graph; 2 were given"),
    (["--task", "generate"], "one bundle has one base graph, but classify and generate were asked for"),
    (["--task", "translate"], "unknown task 'translate'"),
    (["--adapter", "../x=nowhere"], "nowhere is no adapter"),
])  # fmt: skip
def test_what_cannot_be_exported_is_told_before_any_work(refused, folders, trained, tmp_path, options, told):
    adapters = [x for method in ("prefix", "prompt") for x in ("--adapter", trained["classify", method])]
    message = refused("export", "--model", folders("bert"), *adapters, "--out", tmp_path / "b", *options)
    assert told in message and os.listdir(tmp_path) == []


def test_two_adapters_of_one_name_are_refused(refused, folders, trained, tmp_path):
    twice = [x for method in ("prefix", "prompt") for x in ("--adapter", f"same={trained['classify', method]}")]
    assert "two adapters are named 'same'" in refused(
        "export", "--model", folders("bert"), *twice, "--out", tmp_path / "b"
    )


def test_a_bundle_that_is_there_is_not_replaced_without_force(refused, folders, copied, tree):
    bundle = copied("classify")
    before = tree(bundle)
    message = refused("export", "--model", folders("bert"), "--out", bundle)
    assert str(bundle) in message and "--force" in message and tree(bundle) == before


@pytest.mark.parametrize("force", [True, False])
@pytest.mark.parametrize("failure, code, told", [
    (KeyboardInterrupt(), 130, "stopped; nothing was left half-written"),
    (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 1, "No space left on device"),
    (MemoryError("no room for the graph"), 1, "no room for the graph"),
])  # fmt: skip
def test_an_export_that_ends_in_the_middle_leaves_what_was_there(
    cli, folders, copied, tree, tmp_path, monkeypatch, failure, code, told, force
):
    bundle = copied("classify")
    before = tree(tmp_path)

    def half_written(graph, path, *_, **__):
        path.write_bytes(b"half a graph")
        raise failure

    monkeypatch.setattr("edgetune_export.bundle.shared_graphs", lambda *_: {"model.onnx": None})
    monkeypatch.setattr("edgetune_export.bundle.write_graph", half_written)
    out = [bundle, "--force"] if force else [tmp_path / "other"]
    found = cli("export", "--model", folders("bert"), "--out", *out)
    assert found.code == code and told in found.err and found.err.strip().count("\n") == 0
    assert tree(tmp_path) == before


# evaluate


@pytest.mark.parametrize("method", ["prefix", "prompt"])
@pytest.mark.parametrize("task", ["classify", "generate"])
def test_torch_and_bundle_measure_the_same(cli, bundles, trained, rows, task, method):
    data = rows(task, "held_out")
    torch_side = cli("evaluate", "--adapter", trained[task, method], "--data", data, "--json")
    device_side = cli("evaluate", "--bundle", bundles[task], "--adapter", method, "--data", data, "--json")
    assert torch_side.code == device_side.code == 0
    expected, got = json.loads(torch_side.out), json.loads(device_side.out)
    assert expected["rows"] == got["rows"] == 24
    assert got["loss"] == pytest.approx(expected["loss"], abs=1e-5)
    if task == "classify":
        assert got["accuracy"] == expected["accuracy"]
    else:
        assert got["perplexity"] == pytest.approx(expected["perplexity"], rel=1e-4)


@torch.no_grad()
def test_the_accuracy_is_the_share_of_rows_that_are_right(cli, trained, base, written, folders):
    """Counted by hand, one row at a time; a third of the rows is labelled wrong."""
    bert, adapter = base("bert"), load_adapter(trained["classify", "prefix"])
    tuned, right, made = tuned_from(bert, adapter), 0, []
    for i in range(12):
        row = {"text": f"w{14 + i % 2} w{i}", "label": ("no", "yes")[(i % 2) ^ (i % 3 == 0)]}
        ids = torch.tensor([bert.tokenizer(row["text"]).input_ids])
        right += adapter.labels[int(tuned.class_logits(ids, torch.ones_like(ids)).argmax())] == row["label"]
        made.append(row)
    data = written("dev.jsonl", *made)
    found = cli(
        "evaluate", "--model", folders("bert"), "--adapter", trained["classify", "prefix"], "--data", data, "--json"
    )
    assert json.loads(found.out)["accuracy"] == pytest.approx(right / 12) and 0 < right < 12


def test_metrics_are_a_table_without_json(cli, bundles, rows):
    found = cli("evaluate", "--bundle", bundles["classify"], "--data", rows("classify"))
    assert re.search(r"^rows +24$", found.out, re.M) and re.search(r"^accuracy +[01]\.\d{4}$", found.out, re.M)


def test_an_unknown_label_is_located_on_both_ways(refused, bundles, trained, written):
    data = written("dev.jsonl", {"text": "w1", "label": "no"}, {"text": "w1", "label": "maybe"})
    for way in (["--bundle", bundles["classify"]], ["--adapter", trained["classify", "prefix"]]):
        assert 'dev.jsonl:2: the label "maybe" is not among the 2 known' in refused("evaluate", *way, "--data", data)


def test_an_adapter_on_another_base_is_refused_with_both_fingerprints(refused, stranger, folders, base, rows):
    folder, fingerprint = stranger
    message = refused("evaluate", "--model", folders("bert"), "--adapter", folder, "--data", rows("classify"))
    assert fingerprint in message and base("bert").fingerprint in message


def test_an_adapter_that_the_bundle_lacks_lists_those_it_has(refused, bundles, rows):
    given = ("--bundle", bundles["classify"], "--adapter", "nobody")
    message = refused("evaluate", *given, "--data", rows("classify"))
    assert "nobody" in message and "prefix" in message and "prompt" in message


@pytest.mark.parametrize("given", [[], ["--bundle", "b", "--model", "m"]])
def test_neither_and_both_ways_are_wrong_usage(cli, rows, given):
    assert cli("evaluate", "--data", rows("classify"), *given).code == 2


# damaged bundles


DAMAGE = {
    "a missing graph": (lambda b: (b / "model.onnx").unlink(), "model.onnx"),
    "missing weights": (lambda b: (b / "model.onnx.data").unlink(), "model.onnx.data"),
    "an altered graph": (lambda b: changed(b / "model.onnx", 40), "model.onnx"),
    "altered weights": (lambda b: changed(b / "model.onnx.data"), "model.onnx.data"),
    "a cut tokenizer": (lambda b: (b / "tokenizer.json").write_bytes(b"{}"), "tokenizer.json"),
    "an altered adapter": (lambda b: changed(b / "adapters" / "prompt.safetensors"), "prompt.safetensors"),
    "a missing adapter": (lambda b: (b / "adapters" / "prefix.safetensors").unlink(), "prefix.safetensors"),
    "no manifest": (lambda b: (b / "bundle.json").unlink(), "holds no bundle.json"),
    "a broken manifest": (lambda b: (b / "bundle.json").write_bytes(b"{"), "bundle.json"),
    "no folder": (shutil.rmtree, "no such folder"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_bundle_is_refused_by_every_command(refused, copied, rows, trained, name):
    damage, told = DAMAGE[name]
    bundle = copied("classify")
    damage(bundle)
    assert told in refused("run", bundle, "w1 w2", "--adapter", "prompt")
    assert told in refused("evaluate", "--bundle", bundle, "--data", rows("classify"), "--adapter", "prompt")
    assert told in refused("add-adapter", bundle, trained["classify", "prefix"], "--name", "more")


# run


def test_labels_are_printed_with_their_scores(cli, bundles):
    found = cli("run", bundles["classify"], "w14 w14 w3", "--adapter", "prefix")
    expected = edgetune_runtime.load(bundles["classify"]).classify("w14 w14 w3", adapter="prefix").scores
    assert found.code == 0 and found.out == "  ".join(f"{k} {v:.3f}" for k, v in expected.items()) + "\n"


def test_text_is_streamed_as_transformers_continues_it(cli, bundles, base):
    llama = base("llama")
    ids = llama.tokenizer("w3 w4", return_tensors="pt").input_ids
    with torch.no_grad():
        expected = llama.model.generate(ids, max_new_tokens=6, do_sample=False)[0, ids.shape[1] :]
    answer = edgetune_runtime.load(bundles["generate"]).generate("w3 w4", adapter=None, max_new_tokens=6)
    assert [*answer.token_ids] == [int(x) for x in expected if int(x) not in llama.eos_token_ids]
    found = cli("run", bundles["generate"], "w3 w4", "--base", "--max-new-tokens", "6")
    assert found.code == 0 and found.out == answer.text + "\n"


def test_every_line_of_standard_input_gets_a_line(cli, bundles, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("w14 w14\n\nw15 w15\n"))
    found = cli("run", bundles["classify"])
    assert found.code == 0 and len(found.out.splitlines()) == 2


# inspect


def test_an_adapter_is_described(cli, trained, base):
    folder = trained["classify", "prefix"]
    found = json.loads(cli("inspect", folder, "--json").out)
    assert (found["task"], found["method"], found["virtual_tokens"]) == ("classify", "prefix", 3)
    assert found["base_fingerprint"] == base("bert").fingerprint and found["labels"] == ["no", "yes"]
    assert found["parameters"] == 2 * 2 * 4 * 3 * 8 + 2 * 32 + 2
    told = cli("inspect", folder).out
    assert base("bert").fingerprint in told and "no, yes" in told


def test_a_bundle_is_described(cli, bundles, base):
    found = json.loads(cli("inspect", bundles["generate"], "--json").out)
    assert (found["form"], found["task"], found["precision"]) == ("shared", "generate", "fp32")
    assert found["base_fingerprint"] == base("llama").fingerprint
    assert list(found["adapters"]) == ["prefix", "prompt"] and found["nodes"]["GroupQueryAttention"] == 2
    on_disk = [p for p in bundles["generate"].rglob("*") if p.is_file() and p.name != "bundle.json"]
    assert found["size_bytes"] == sum(p.stat().st_size for p in on_disk)
    assert "prefix, 3 virtual tokens" in cli("inspect", bundles["generate"]).out


def test_a_device_file_is_described(cli, bundles, base):
    path = bundles["classify"] / "adapters" / "prompt.safetensors"
    found = json.loads(cli("inspect", path, "--json").out)
    assert (found["name"], found["method"], found["labels"]) == ("prompt", "prompt", ["no", "yes"])
    assert found["tensors"]["prompt_embeds"] == [1, 3, 32] and found["size_bytes"] == path.stat().st_size
    assert base("bert").fingerprint in cli("inspect", path).out


@pytest.mark.parametrize("made, told", [
    (None, "does not exist"),
    ("folder", "holds neither bundle.json nor adapter.json"),
    ("x.safetensors", "cannot be read"),
])  # fmt: skip
def test_what_is_none_of_ours_is_told(refused, tmp_path, made, told):
    path = tmp_path / (made or "nowhere")
    if made == "folder":
        path.mkdir()
    elif made:
        path.write_bytes(b"something")
    assert told in refused("inspect", path)


# add-adapter


def answers(bundle, name, row):
    """Of the runtime, one row of token ids."""
    model = edgetune_runtime.load(bundle)
    return torch.from_numpy(
        model.class_logits([row], name)[0] if model.task == "classify" else model.logits(row, adapter=name)
    )


@torch.no_grad()
def torch_answers(base, folder, row):
    tuned, ids = tuned_from(base, load_adapter(folder)), torch.tensor([row])
    mask = torch.ones_like(ids)
    return tuned.class_logits(ids, mask)[0] if base.kind == "encoder" else tuned.token_logits(ids, mask, mask.bool())


@pytest.mark.parametrize("method", ["prefix", "prompt"])
@pytest.mark.parametrize("task, family", [("classify", "bert"), ("generate", "llama")])
def test_an_added_adapter_answers_as_torch_does(cli, copied, trained, base, tree, task, family, method):
    bundle, row = copied(task), [4, 20, 21, 9, 5]
    before = tree(bundle)
    found = cli("add-adapter", bundle, trained[task, method], "--name", "more")
    assert found.code == 0 and f"added to {bundle}" in found.err
    torch.testing.assert_close(
        answers(bundle, "more", row), torch_answers(base(family), trained[task, method], row), rtol=0, atol=1e-4
    )
    after = tree(bundle)
    assert set(after) - set(before) == {"adapters/more.safetensors"}
    assert {name for name in before if before[name] != after[name]} == {"bundle.json"}


def test_an_adapter_is_called_as_its_folder_is(cli, copied, trained):
    bundle = copied("classify")
    assert cli("add-adapter", bundle, trained["classify", "prefix"]).code == 0
    assert list(edgetune_runtime.load(bundle).adapters) == ["prefix", "prompt", "classify-prefix"]


def test_an_added_adapter_makes_a_signature_void_and_says_so(cli, refused, copied, trained, tmp_path):
    bundle, key, public = copied("classify"), tmp_path / "release.key", tmp_path / "release.pub"
    assert cli("keygen", key).code == 0 and cli("sign", bundle, "--key", key).code == 0
    assert cli("verify", bundle, "--key", public).code == 0
    assert "sign it again" in cli("add-adapter", bundle, trained["classify", "prefix"], "--name", "more").err
    assert "was not signed" in refused("verify", bundle, "--key", public)
    assert cli("sign", bundle, "--key", key).code == 0 and cli("verify", bundle, "--key", public).code == 0


def test_a_name_that_is_taken_is_replaced_with_force_alone(cli, refused, copied, trained, tree):
    bundle, row = copied("classify"), [4, 20, 5]
    before, given = tree(bundle), ("add-adapter", bundle, trained["classify", "prompt"], "--name", "prefix")
    assert "already has an adapter named 'prefix'; --force replaces it" in refused(*given)
    assert tree(bundle) == before
    assert cli(*given, "--force").code == 0
    torch.testing.assert_close(answers(bundle, "prefix", row), answers(bundle, "prompt", row))


def test_what_does_not_fit_leaves_the_bundle_as_it_was(refused, copied, trained, stranger, base, tree):
    bundle, (folder, fingerprint) = copied("classify"), stranger
    before = tree(bundle)
    message = refused("add-adapter", bundle, folder)
    assert fingerprint in message and base("bert").fingerprint in message
    decoders = refused("add-adapter", bundle, trained["generate", "prefix"])
    assert base("llama").fingerprint in decoders and base("bert").fingerprint in decoders
    assert "cannot name an adapter" in refused("add-adapter", bundle, trained["classify", "prefix"], "--name", "../x")
    assert "is no adapter" in refused("add-adapter", bundle, bundle)
    assert tree(bundle) == before


def test_a_decoders_prompt_on_another_base_is_refused(refused, copied, trained, tree, tmp_path):
    bundle = copied("generate")
    before, other = tree(bundle), saved(base_of("llama", seed=1), tmp_path / "other")
    message = refused("add-adapter", bundle, trained["generate", "prompt"], "--name", "more", "--model", other)
    assert len(set(re.findall(r"sha256:[0-9a-f]{64}", message))) == 2 and tree(bundle) == before


def test_a_standalone_bundle_takes_no_adapter(refused, trained, tree):
    before = tree(GOLDEN / "decoder-standalone")
    message = refused("add-adapter", GOLDEN / "decoder-standalone", trained["generate", "prefix"])
    assert "is a standalone bundle" in message and tree(GOLDEN / "decoder-standalone") == before


def fails_at(monkeypatch, owner, name, call, error):
    """The call with that number fails, as on a disk that has just become full."""
    real, calls = getattr(owner, name), []

    def function(*args, **kwargs):
        calls.append(args)
        if len(calls) == call:
            raise error
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, function)


@pytest.mark.parametrize("name", ["more", "prefix"])
@pytest.mark.parametrize("call", [1, 2, 3, 4])
def test_a_disk_that_fills_up_at_any_write_leaves_the_bundle_as_it_was(
    refused, copied, trained, tree, monkeypatch, call, name
):
    """What is synced to the disk: the adapter's file, its folder, the manifest, its folder."""
    bundle = copied("classify")
    before = tree(bundle)
    fails_at(monkeypatch, os, "fsync", call, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    message = refused("add-adapter", bundle, trained["classify", "prompt"], "--name", name, "--force")
    assert "No space left on device" in message
    monkeypatch.undo()
    edgetune_runtime.load(bundle)
    assert tree(bundle) == before


def test_a_candidate_that_does_not_fit_on_the_disk_is_not_left_behind(refused, copied, trained, tree, monkeypatch):
    bundle = copied("classify")
    before, real = tree(bundle), Path.write_bytes

    def write(path, data):
        real(path, data[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", write)
    assert "No space" in refused("add-adapter", bundle, trained["classify", "prefix"], "--name", "more")
    assert tree(bundle) == before


def test_run_constrains_what_it_writes(cli, tmp_path):
    golden = Path(__file__).parents[2] / "golden" / "decoder-shared"
    (tmp_path / "schema.json").write_text('{"enum": ["w3", "w4"]}')
    found = cli("run", golden, "once", "--json-schema", tmp_path / "schema.json")
    assert found.code == 0 and found.out.strip() in ('"w3"', '"w4"')
    for options in (["--choice", "w3", "--choice", "w4"], ["--regex", "w[34]", "--num-beams", "2"]):
        found = cli("run", golden, "once", "--base", *options)
        assert found.code == 0 and found.out.strip() in ("w3", "w4")
