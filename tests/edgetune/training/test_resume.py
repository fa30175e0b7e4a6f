"""A run that is killed at whatever moment and continued ends with the very bytes of one that never was."""

import errno
import json
import os
import random
import resource
import signal
import sys
import time
import traceback
from functools import partial
from pathlib import Path

import pytest
import torch

from edgetune import output
from edgetune.adapter import TENSORS
from edgetune.cli import main
from edgetune.config import TrainConfig
from edgetune.errors import ConfigError, OutputExistsError
from edgetune.training import loop
from edgetune.training.result import train_into
from edgetune.training.state_file import read_state
from edgetune.training.unfinished import STATE, folder_of, steps_kept

from ..tiny import base_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks and kills")

KILLS = int(os.environ.get("EDGETUNE_KILLS", "3"))
"""Random moments a method; the release check takes 10."""

CALLS = ("fsync", "replace", "rename", "unlink", "rmdir")
"""Between two of these the disk does not change in a way that a restart could tell."""


@pytest.fixture
def config(folders, rows):
    def made(**options):
        given = dict(steps=40, batch_size=4, virtual_tokens=3, eval_every=10, save_every=4, learning_rate=0.05)
        paths = dict(model=folders("bert"), data=rows("classify"), eval_data=rows("classify", "held_out"))
        return TrainConfig(**{**paths, **given, **options})

    return made


@pytest.fixture
def whole(config, base, tmp_path):
    """`whole(steps=6)`: the adapter's bytes of a run that nothing disturbed."""

    def made(**options):
        train_into(tmp_path / "whole", config(**options), base=base("bert"), force=True)
        return adapter_bytes(tmp_path / "whole")

    return made


def adapter_bytes(out):
    return (out / TENSORS).read_bytes()


def child(work):
    """A process of its own that runs `work`; exit status 0, or 1 after an error."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def ended(pid):
    """0, 1, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def killed_before(call, work):
    """Runs `work` in a child that kills itself before its `call`-th change of the disk; false if it makes fewer."""

    def counted():
        made = 0

        def killing(original):
            def wrapped(*args, **kwargs):
                nonlocal made
                made += 1
                if made == call:
                    os.kill(os.getpid(), signal.SIGKILL)
                return original(*args, **kwargs)

            return wrapped

        for name in CALLS:
            setattr(os, name, killing(getattr(os, name)))
        work()

    status = ended(child(counted))
    assert status in (0, -signal.SIGKILL)
    return status != 0


def continued(out, config, base, report=lambda _: None):
    """As a user would: with --resume where something is left to resume."""
    train_into(out, config, report, base=base, resume=steps_kept(out) is not None)


def killed_at(step):
    def report(progress):
        if progress.step == step:
            os.kill(os.getpid(), signal.SIGKILL)

    return report


def left(tmp_path):
    return sorted(p.name for p in tmp_path.iterdir() if ".run" in p.name or ".state" in p.name)


def interrupted_at(step):
    def report(progress):
        if progress.step == step and progress.metrics is None:
            raise KeyboardInterrupt

    return report


def interrupt(out, config, base, step, **options):
    with pytest.raises(KeyboardInterrupt):
        train_into(out, config, interrupted_at(step), base=base, **options)


def test_a_run_killed_at_random_moments_ends_with_the_same_bytes(config, base, whole, tmp_path):
    """Moments over the whole run, its start and end included; a new process continues."""
    expected, given, rng = whole(steps=80), config(steps=80), random.Random(0)
    began = time.perf_counter()
    assert ended(child(lambda: train_into(tmp_path / "timed", given, base=base("bert")))) == 0
    seconds = time.perf_counter() - began
    for i in range(KILLS):
        out = tmp_path / f"out{i}"
        pid = child(lambda out=out: train_into(out, given, base=base("bert")))
        time.sleep(seconds * (i + rng.random()) / KILLS)
        os.kill(pid, signal.SIGKILL)
        ended(pid)
        if not out.exists():
            assert ended(child(lambda out=out: continued(out, given, base("bert")))) == 0
        assert adapter_bytes(out) == expected
    assert not left(tmp_path)


def test_a_run_killed_again_and_again_gets_there(config, base, whole, tmp_path):
    """Each process goes seven steps on; kept are multiples of 4 and 10, so they begin at 0, 4, 10, 16, 20 … 70, 76."""
    out, given, kills = tmp_path / "out", config(steps=80), 0
    while not out.exists():
        last = (steps_kept(out) or 0) + 7
        kills += ended(child(lambda last=last: continued(out, given, base("bert"), killed_at(last)))) == -signal.SIGKILL
    assert kills == 15 and adapter_bytes(out) == whole(steps=80)


def test_a_run_killed_between_any_two_changes_of_the_disk_can_be_continued(config, base, whole, tmp_path):
    """In the middle of a save, between a result's appearance and the end of its state, everywhere."""
    options = dict(steps=2, eval_every=2, save_every=2)
    expected, given, call = whole(**options), config(**options), 1
    while killed_before(call, partial(train_into, out := tmp_path / f"out{call}", given, base=base("bert"))):
        if steps_kept(out) is not None or not out.exists():
            continued(out, given, base("bert"))
        assert adapter_bytes(out) == expected, f"killed before change {call}"
        assert steps_kept(out) is None
        call += 1
    assert call > 15


@pytest.mark.parametrize("method", ["prompt", "prefix"])
@pytest.mark.parametrize("family, task", [("bert", "classify"), ("llama", "generate")])
def test_every_kind_of_run_continues_bit_for_bit(config, base, folders, rows, tmp_path, family, task, method):
    paths = dict(model=folders(family), data=rows(task), eval_data=rows(task, "held_out"))
    given = config(task=task, method=method, steps=20, accumulate=2, weight_decay=0.01, **paths)
    train_into(tmp_path / "whole", given, base=base(family))
    interrupt(tmp_path / "out", given, base(family), step=15)
    assert steps_kept(tmp_path / "out") == 12
    train_into(tmp_path / "out", given, base=base(family), resume=True)
    assert adapter_bytes(tmp_path / "out") == adapter_bytes(tmp_path / "whole")


def test_the_best_checkpoint_and_the_log_survive(config, base, tmp_path, monkeypatch):
    """The best evaluation comes before the interruption and the last values are others."""
    accuracy = {5: 0.5, 10: 0.9, 15: 0.6, 20: 0.7}
    given, step, entries = config(steps=20, eval_every=5), None, {}

    def noted(progress):
        nonlocal step
        step = progress.step + 1

    def measured(*_, **__):
        return {"loss": 1.0, "accuracy": accuracy[step - 1]}

    monkeypatch.setattr(loop, "measured", measured)
    outcomes = {}
    for name in ("whole", "out"):
        if name == "out":

            def stop(progress):
                noted(progress)
                interrupted_at(18)(progress)

            with pytest.raises(KeyboardInterrupt):
                train_into(tmp_path / name, given, stop, base=base("bert"))
            assert read_state(folder_of(tmp_path / name) / STATE).state.course.best_step == 10
        _, outcomes[name] = train_into(tmp_path / name, given, noted, base=base("bert"), resume=name == "out")
        lines = [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        entries[name] = [(e["step"], e["loss"], e.get("metrics")) for e in lines[:-1]]
    assert outcomes["out"].step == outcomes["whole"].step == 10
    assert outcomes["out"].metrics == {"loss": 1.0, "accuracy": 0.9}
    assert entries["out"] == entries["whole"] and len(entries["out"]) == 24
    assert adapter_bytes(tmp_path / "out") == adapter_bytes(tmp_path / "whole")


def test_random_draws_of_a_step_are_those_of_a_run_that_was_never_interrupted(config, base, tmp_path):
    """Noise in the base stands for dropout in whatever is trained through; the caller's own generator goes on."""
    noisy = base("bert")
    layer = noisy.model.embeddings.word_embeddings
    given, before = config(steps=12), torch.get_rng_state()
    noise = lambda _m, _i, x: x + 0.1 * torch.randn_like(x) if torch.is_grad_enabled() else x  # noqa: E731
    hook = layer.register_forward_hook(noise)
    try:
        train_into(tmp_path / "whole", given, base=noisy)
        assert torch.equal(torch.get_rng_state(), before)
        interrupt(tmp_path / "out", given, noisy, step=7)
        torch.randn(3)
        train_into(tmp_path / "out", given, base=noisy, resume=True)
    finally:
        hook.remove()
    assert adapter_bytes(tmp_path / "out") == adapter_bytes(tmp_path / "whole")


def test_a_run_that_succeeds_leaves_no_state(config, base, tmp_path):
    train_into(tmp_path / "out", config(steps=3), base=base("bert"))
    assert os.listdir(tmp_path) == ["out"]


def test_a_run_that_is_kept_nowhere_leaves_nothing_when_it_is_stopped(config, base, tmp_path):
    interrupt(tmp_path / "out", config(save_every=0), base("bert"), step=15)
    assert os.listdir(tmp_path) == []


def test_an_error_that_would_come_again_leaves_nothing(config, base, tmp_path):
    with pytest.raises(ConfigError, match="the loss is"):
        train_into(tmp_path / "out", config(learning_rate=1e38), base=base("bert"))
    with pytest.raises(ConfigError, match="cannot load the base model"):
        train_into(tmp_path / "out", config(model=str(tmp_path / "none")))
    assert os.listdir(tmp_path) == []


def test_an_unfinished_run_is_not_overwritten_unless_forced(config, base, whole, tmp_path):
    given = config(steps=12)
    interrupt(tmp_path / "out", given, base("bert"), step=7)
    with pytest.raises(OutputExistsError, match=r"out\.run holds an unfinished run: continue with --resume, .*--force"):
        train_into(tmp_path / "out", given, base=base("bert"))
    train_into(tmp_path / "out", given, base=base("bert"), force=True)
    steps = [json.loads(line).get("step") for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert steps == [*range(1, 11), 10, 11, 12, 12, None]
    assert adapter_bytes(tmp_path / "out") == whole(steps=12)


def test_a_forced_run_that_was_killed_replaces_the_old_result_when_it_is_resumed(config, base, whole, tmp_path):
    train_into(tmp_path / "out", config(steps=1), base=base("bert"))
    interrupt(tmp_path / "out", config(steps=12), base("bert"), step=7, force=True)
    assert adapter_bytes(tmp_path / "out") == whole(steps=1), "the old result stays until the new one is whole"
    with pytest.raises(OutputExistsError, match="--force"):
        train_into(tmp_path / "out", config(steps=12), base=base("bert"), resume=True)
    train_into(tmp_path / "out", config(steps=12), base=base("bert"), resume=True, force=True)
    assert adapter_bytes(tmp_path / "out") == whole(steps=12)


def commanded(said, *arguments):
    """`edgetune ARGUMENTS` in a process of its own, what it prints on stderr in the file `said`."""

    def work():
        signal.signal(signal.SIGINT, signal.default_int_handler)  # in a background job it is ignored
        with said.open("w") as file:
            os.dup2(file.fileno(), 2)
        sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
        try:
            main([str(x) for x in arguments])
        except SystemExit as end:
            os._exit(end.code)

    return child(work)


def test_ctrl_c_leaves_the_run_and_says_how_to_go_on(config, tmp_path):
    given, out, said = tmp_path / "given.toml", tmp_path / "out", tmp_path / "said"
    given.write_text(config(steps=2000).toml())
    pid = commanded(said, "train", "--config", given, "--out", out)
    while not steps_kept(out):
        time.sleep(0.05)
    os.kill(pid, signal.SIGINT)
    assert ended(pid) == 130
    assert f"{steps_kept(out)} of 2000 steps are kept; continue with --resume" in said.read_text()
    assert "Traceback" not in said.read_text() and not out.exists()
    assert ended(commanded(said, "train", "--config", given, "--out", out)) == 1
    assert said.read_text().count("\n") == 1 and "--resume" in said.read_text()
    assert ended(commanded(said, "train", "--config", given, "--out", out, "--resume", "--steps", 40)) == 1
    assert "steps (2000, now 40)" in said.read_text() and said.read_text().count("\n") == 1


def test_a_run_is_continued_from_the_command_line(config, base, whole, tmp_path):
    given, out, said = tmp_path / "given.toml", tmp_path / "out", tmp_path / "said"
    given.write_text(config().toml())
    assert ended(commanded(said, "train", "--config", given, "--out", out, "--resume")) == 1
    assert said.read_text().startswith("edgetune: nothing to resume") and said.read_text().count("\n") == 1
    interrupt(out, config(), base("bert"), step=7)
    assert ended(commanded(said, "train", "--config", given, "--out", out, "--resume")) == 0
    assert "continued after step 4\n" in said.read_text()
    assert adapter_bytes(out) == whole()


def test_nothing_to_resume_is_told(config, base, tmp_path):
    with pytest.raises(ConfigError, match=r"nothing to resume: there is no .*out\.run/state\.safetensors"):
        train_into(tmp_path / "out", config(), base=base("bert"), resume=True)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("change, told", [
    ({"learning_rate": 0.01}, r"learning_rate \(0\.05, now 0\.01\)"),
    ({"steps": 41, "seed": 3}, r"steps \(40, now 41\), seed \(0, now 3\)"),
    ({"accumulate": 2}, r"accumulate \(1, now 2\)"),
    ({"precision": "bf16"}, "precision"),
])  # fmt: skip
def test_changed_options_are_refused_by_name_and_the_state_stays(config, base, whole, tmp_path, change, told):
    interrupt(tmp_path / "out", config(), base("bert"), step=7)
    with pytest.raises(ConfigError, match=f"begun with other values of {told}"):
        train_into(tmp_path / "out", config(**change), base=base("bert"), resume=True)
    train_into(tmp_path / "out", config(save_every=7), base=base("bert"), resume=True)
    assert adapter_bytes(tmp_path / "out") == whole()


@pytest.mark.parametrize("which, told", [("data", "the training rows"), ("eval_data", "the evaluation rows")])
def test_changed_rows_are_refused_wherever_they_lie(config, base, tmp_path, which, told):
    interrupt(tmp_path / "out", config(), base("bert"), step=7)
    old = getattr(config(), which)
    moved, changed = tmp_path / "moved.jsonl", tmp_path / "changed.jsonl"
    text = Path(old).read_text("utf-8")
    moved.write_text(text, "utf-8")
    changed.write_text(text.replace("w14 w14", "w14 w13", 1), "utf-8")
    with pytest.raises(ConfigError, match=f"begun with other values of {told}"):
        train_into(tmp_path / "out", config(**{which: str(changed)}), base=base("bert"), resume=True)
    assert steps_kept(tmp_path / "out") == 4
    train_into(tmp_path / "out", config(**{which: str(moved)}), base=base("bert"), resume=True)


def test_another_base_is_refused(config, base, tmp_path):
    interrupt(tmp_path / "out", config(), base("bert"), step=7)
    with pytest.raises(ConfigError, match="other values of the base model, what the virtual tokens start from"):
        train_into(tmp_path / "out", config(), base=base_of("bert", seed=1), resume=True)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_save_that_fails_keeps_the_state_before(config, base, whole, tmp_path, monkeypatch, call):
    """Once at the first save after step 4, which then is still what the disk holds."""
    original, saves = getattr(os, call), 0

    def full(*args, **kwargs):
        nonlocal saves
        saves += 1
        if saves == {"fsync": 8, "replace": 3}[call]:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(*args, **kwargs)

    monkeypatch.setattr(output.os, call, full)
    with pytest.raises(OSError, match="No space left"):
        train_into(tmp_path / "out", config(steps=12), base=base("bert"))
    monkeypatch.undo()
    assert sorted(os.listdir(folder_of(tmp_path / "out"))) == ["log.jsonl", STATE]
    assert steps_kept(tmp_path / "out") == 4
    train_into(tmp_path / "out", config(steps=12), base=base("bert"), resume=True)
    assert adapter_bytes(tmp_path / "out") == whole(steps=12)


def test_a_disk_that_is_full_for_real_keeps_the_state_before(config, base, whole, tmp_path):
    """The system cuts the write off: the first state fits the limit, the next has AdamW's moments and does not."""
    options = dict(steps=8, virtual_tokens=20, method="prefix")

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with pytest.raises(OSError, match="File too large"):
            train_into(tmp_path / "out", config(**options), base=base("bert"))

    assert ended(child(limited)) == 0
    assert steps_kept(tmp_path / "out") == 0
    train_into(tmp_path / "out", config(**options), base=base("bert"), resume=True)
    assert adapter_bytes(tmp_path / "out") == whole(**options)


def test_a_run_that_is_under_way_is_neither_continued_nor_replaced(config, base, tmp_path):
    refused = []

    def report(progress):
        if progress.step == 6:
            for options in ({"resume": True}, {"force": True}, {}):
                with pytest.raises(OutputExistsError, match="another run is under way"):
                    train_into(tmp_path / "out", config(), base=base("bert"), **options)
                refused.append(options)

    train_into(tmp_path / "out", config(steps=6, eval_every=50), report, base=base("bert"))
    assert len(refused) == 6, "at the step and at its evaluation"


def test_a_folder_of_someone_else_is_left_alone(config, base, tmp_path):
    folder = tmp_path / "out.run"
    folder.mkdir()
    (folder / "thesis.tex").write_text("mine")
    with pytest.raises(OutputExistsError, match="holds something else"):
        train_into(tmp_path / "out", config(), base=base("bert"), force=True)
    assert os.listdir(folder) == ["thesis.tex"]


@pytest.mark.parametrize("damage", [
    lambda state: state[: len(state) // 2],
    lambda state: b"",
    lambda state: state.replace(b"edgetune-run", b"edgetune-xyz"),
])  # fmt: skip
def test_a_damaged_state_is_told_in_one_line(config, base, tmp_path, damage):
    interrupt(tmp_path / "out", config(), base("bert"), step=7)
    path = folder_of(tmp_path / "out") / STATE
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ConfigError, match=r"cannot be read|is of version"):
        train_into(tmp_path / "out", config(), base=base("bert"), resume=True)


def test_another_machine_is_told(config, base, tmp_path, monkeypatch, caplog):
    interrupt(tmp_path / "out", config(steps=12), base("bert"), step=7)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    train_into(tmp_path / "out", config(steps=12), base=base("bert"), resume=True)
    assert "threads is 64 and was 1 when the run was left" in caplog.text
