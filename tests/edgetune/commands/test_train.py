"""`edgetune train`: options from the command line and a file, and what happens to bad input."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tomllib
import transformers

from edgetune.adapter import load_adapter

from ..tiny import SHAPE, tokenizer_of


@pytest.fixture
def options(folders, rows, tmp_path):
    """A small run that works; what is given replaces a part of it."""

    def made(**changes):
        given = dict(model=folders("bert"), data=rows("classify"), task="classify", method="prompt", steps=2,
                     batch_size=4, virtual_tokens=2, out=tmp_path / "made" / "out")  # fmt: skip
        return [x for k, v in {**given, **changes}.items() if v is not None for x in (f"--{k.replace('_', '-')}", v)]

    (tmp_path / "made").mkdir()
    return made


@pytest.fixture
def left(tmp_path):
    """What a run left where results are written: hidden files too."""
    return lambda: sorted(os.listdir(tmp_path / "made"))


def test_a_run_says_what_it_kept_and_what_comes_next(cli, options, rows, tmp_path):
    found = cli("train", *options(eval_data=rows("classify", "held_out")))
    assert found.code == 0 and found.out == ""
    assert "step 2: accuracy " in found.err
    assert "prompt, 2 virtual tokens, 130 parameters, 520 B; kept step 2: accuracy" in found.err
    assert f"next: edgetune export --model {options()[1]} --adapter {tmp_path / 'made' / 'out'}" in found.err
    assert load_adapter(tmp_path / "made" / "out").labels == ("no", "yes")


def test_the_command_line_wins_over_the_file_and_the_file_over_defaults(cli, options, tmp_path):
    (tmp_path / "run.toml").write_text(
        'steps = 3\nvirtual_tokens = 9\nseed = 4\nmethod = "prefix"\n[columns]\ntext = "text"\n'
    )
    found = cli("train", *options(config=tmp_path / "run.toml", steps=None, method=None, virtual_tokens=5))
    assert found.code == 0
    saved = tomllib.loads((tmp_path / "made" / "out" / "run.toml").read_text())
    assert (saved["steps"], saved["virtual_tokens"], saved["seed"], saved["method"]) == (3, 5, 4, "prefix")
    assert saved["columns"] == {"text": "text"} and saved["warmup"] == 0.1


def test_a_saved_run_is_a_file_of_config(cli, options, tmp_path):
    assert cli("train", *options()).code == 0
    first = tmp_path / "made" / "out"
    assert cli("train", "--config", first / "run.toml", "--out", tmp_path / "made" / "again").code == 0
    again = tmp_path / "made" / "again"
    assert (again / "adapter.safetensors").read_bytes() == (first / "adapter.safetensors").read_bytes()


def test_columns_are_named_on_the_command_line(cli, options, written, tmp_path):
    data = written("rows.jsonl", {"query": "w1", "category": "a"}, {"query": "w2", "category": "b"})
    assert cli("train", *options(data=data, columns="text=query,label=category")).code == 0
    assert load_adapter(tmp_path / "made" / "out").labels == ("a", "b")


def test_an_ecosystems_name_of_a_task_is_taken(cli, options, tmp_path):
    assert cli("train", *options(task="text-classification")).code == 0
    assert load_adapter(tmp_path / "made" / "out").task == "classify"


@pytest.mark.parametrize("name", ["model", "data", "task"])
def test_an_option_that_is_needed_is_named(refused, options, left, name):
    assert f"--{name} is missing" in refused("train", *options(**{name: None}))
    assert left() == []


@pytest.mark.parametrize("made, told", [
    (None, "rows.jsonl"),
    (b"", "rows.jsonl: the file is empty"),
    (b"\n\n", "rows.jsonl: the file has no rows"),
    (b'{"text": "w1", "label": "a"}\n{"text": "w1"}\n', 'rows.jsonl:2: no "label"; found: "text"'),
    (b'{"text": "w1", "label": "a"}\n{"text": " ", "label": "b"}\n', 'rows.jsonl:2: "text" is blank'),
    (b'{"text": "w1", "label": "a"}\n{"text": "w1", \n', "rows.jsonl:2: not JSON"),
    (b'{"text": "w1", "label": "a"}\n', 'only the label "a"'),
])  # fmt: skip
def test_data_that_cannot_be_used_is_located(refused, options, left, tmp_path, made, told):
    if made is not None:
        (tmp_path / "rows.jsonl").write_bytes(made)
    message = refused("train", *options(data=tmp_path / "rows.jsonl"))
    assert told in message
    assert left() == []


def test_an_unknown_label_of_the_evaluation_data_is_located(refused, options, left, written):
    dev = written("dev.jsonl", {"text": "w1", "label": "yes"}, {"text": "w1", "label": "yess"})
    message = refused("train", *options(eval_data=dev))
    assert 'dev.jsonl:2: the label "yess" is not among the 2 known (did you mean "yes"?)' in message
    assert left() == []


def test_a_family_without_the_attention_interface_is_named(refused, options, left, tmp_path):
    transformers.FNetModel(transformers.FNetConfig(**SHAPE)).save_pretrained(tmp_path / "fnet")
    tokenizer_of("encoder").save_pretrained(tmp_path / "fnet")
    message = refused("train", *options(model=tmp_path / "fnet"))
    assert "the family 'fnet' does not route its attention" in message and left() == []


def test_a_model_that_is_not_there_is_named(refused, options, left, tmp_path):
    message = refused("train", *options(model=tmp_path / "nowhere"))
    assert f"cannot load the base model '{tmp_path / 'nowhere'}'" in message and left() == []


def test_a_decoder_for_classification_is_refused(refused, options, folders):
    assert "is a decoder; --task classify needs an encoder" in refused("train", *options(model=folders("llama")))


def test_a_row_too_long_to_generate_is_refused_with_the_numbers(refused, options, left, folders, written):
    data = written("rows.jsonl", {"prompt": "w1 " * 40, "completion": "w2 " * 30})
    message = refused("train", *options(model=folders("llama"), task="generate", data=data))
    assert "rows.jsonl:1: 72 tokens, but" in message and "holds 64 positions" in message and "leave 62" in message
    assert left() == []


@pytest.mark.parametrize("content, told", [
    (None, "cannot read the configuration"),
    ("stepz = 3", "unknown option 'stepz'"),
    ("steps = ", "is not TOML"),
    ("steps = 'many'", "steps is 'many'; give a number"),
    ("batch_size = 0", "batch_size is 0; the least is 1"),
    ("max_length = 1", "max_length is 1; the least is 2"),
    ("eval_data = 3", "eval_data is 3; give a text in quotes"),
])  # fmt: skip
def test_a_wrong_configuration_file_is_told(refused, options, left, tmp_path, content, told):
    if content is not None:
        (tmp_path / "run.toml").write_text(content)
    message = refused("train", *options(config=tmp_path / "run.toml", steps=None, batch_size=None))
    assert told in message and left() == []


@pytest.mark.parametrize("task", ["3", "['classify']"])
def test_a_task_of_the_wrong_type_is_refused(refused, options, tmp_path, task):
    (tmp_path / "run.toml").write_text(f"task = {task}")
    assert "choose classify or tag or regress or generate" in refused(
        "train", *options(config=tmp_path / "run.toml", task=None)
    )


@pytest.mark.parametrize("columns", ["label", "=x", "label="])
def test_columns_of_a_wrong_form_are_wrong_usage(cli, options, left, columns):
    found = cli("train", *options(columns=columns))
    assert found.code == 2 and "is not FIELD=COLUMN" in found.err and left() == []


def test_a_result_that_is_there_is_replaced_with_force_alone(cli, refused, options, tree, tmp_path):
    out = tmp_path / "made" / "out"
    assert cli("train", *options()).code == 0
    before = tree(tmp_path / "made")
    message = refused("train", *options(steps=3))
    assert str(out) in message and "--force" in message
    assert tree(tmp_path / "made") == before
    assert cli("train", *options(steps=3), "--force").code == 0
    after = tree(tmp_path / "made")
    assert set(after) == set(before) and after["out/adapter.safetensors"] != before["out/adapter.safetensors"]


@pytest.fixture
def results(tree, tmp_path):
    """What is left but for `out.run`, from which a run that was stopped can be resumed."""
    return lambda: {name: x for name, x in tree(tmp_path / "made").items() if not name.split("/")[0].endswith(".run")}


def full_disk(monkeypatch, method, suffix):
    """Half of a file is written, then nothing fits any more."""
    real = getattr(Path, method)

    def write(path, data, *args, **kwargs):
        if path.name.endswith(suffix):
            real(path, data[: len(data) // 2], *args, **kwargs)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return real(path, data, *args, **kwargs)

    monkeypatch.setattr(Path, method, write)


@pytest.mark.parametrize("method, name", [
    ("write_bytes", "adapter.safetensors"), ("write_text", "adapter.json"), ("write_text", "run.toml"),
])  # fmt: skip
def test_a_full_disk_leaves_what_was_there(cli, options, results, tmp_path, monkeypatch, method, name):
    assert cli("train", *options()).code == 0
    before = results()
    full_disk(monkeypatch, method, name)
    for there in (["--force"], ["--out", tmp_path / "made" / "other"]):
        found = cli("train", *options(steps=3), *there)
        assert found.code == 1 and found.out == "" and "Traceback" not in found.err
        assert found.err.splitlines()[-1].startswith("edgetune: [Errno 28] No space left on device")
    assert results() == before
    monkeypatch.undo()
    assert cli("train", *options(steps=3), "--force").code == 0


def test_a_log_that_cannot_be_written_leaves_nothing(cli, options, results, monkeypatch):
    real = Path.open

    def opened(path, *args, **kwargs):
        file = real(path, *args, **kwargs)
        if path.name == "log.jsonl":

            def fail(*_):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            file.write = fail
        return file

    monkeypatch.setattr(Path, "open", opened)
    found = cli("train", *options())
    assert found.code == 1 and found.err.splitlines()[-1] == "edgetune: [Errno 28] No space left on device"
    assert results() == {}


COMMAND = [sys.executable, "-c", "from edgetune.cli import main; main()"]


def test_in_a_process_of_its_own_an_error_is_one_line_too(options, folders, left):
    """Loading a model draws no bar, and nobody's warning comes before the error."""
    found = subprocess.run(
        [*COMMAND, "train", *map(str, options(model=folders("llama")))], capture_output=True, text=True
    )
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr.startswith("edgetune: ") and found.stderr.count("\n") == 1
    assert "is a decoder" in found.stderr and left() == []


def test_ctrl_c_in_the_middle_of_training_leaves_what_was_there(cli, options, results, tmp_path):
    assert cli("train", *options()).code == 0
    before = results()
    process = subprocess.Popen(
        [*COMMAND, "train", *map(str, options(steps=10**7)), "--force"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # it may be ignored around us
    )
    try:
        deadline = time.monotonic() + 120
        while not any(p.stat().st_size for p in (tmp_path / "made").glob("*/log.jsonl") if p.parent.name != "out"):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert out == "" and "Traceback" not in err
    assert err.splitlines()[-1] == "edgetune: stopped; nothing was left half-written"
    assert results() == before
