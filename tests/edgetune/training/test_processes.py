"""Several processes take the very steps of one, and end together."""

import json
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from edgetune.adapter import TENSORS
from edgetune.config import TrainConfig
from edgetune.training import watch
from edgetune.training.unfinished import folder_of, steps_kept

from .launching import Launch

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="forks and kills"),
    pytest.mark.filterwarnings("ignore"),
]
pytest.importorskip("accelerate")

TOLERANCE = 1e-5


@pytest.fixture
def config(folders, rows, tmp_path):
    """`config("classify", steps=9)`: a file for --config. An epoch's last step has 4 of its 10 rows, so that of four
    processes some have one and some none in a batch."""

    def written(task, **options):
        family = {"classify": "bert", "generate": "llama"}[task]
        given = dict(steps=14, batch_size=5, accumulate=2, virtual_tokens=3, eval_every=5, save_every=1)
        paths = dict(model=folders(family), data=rows(task), eval_data=rows(task, "held_out"))
        path = tmp_path / f"{task}.toml"
        path.write_text(TrainConfig(task=task, **{**paths, **given, **options}).toml(), "utf-8")
        return path

    return written


@pytest.fixture
def whole(tmp_path, cli):
    """`whole(config)`: the folder of a run of one process that nothing disturbed."""

    def made(given):
        out = tmp_path / "whole"
        assert cli("train", "--config", given, "--out", out, "--force").code == 0
        return out

    return made


def same(one, other):
    """Adapters and curves are equal within the tolerance."""
    theirs, ours = load_file(one / TENSORS), load_file(other / TENSORS)
    assert theirs.keys() == ours.keys()
    for name, x in theirs.items():
        np.testing.assert_allclose(ours[name], x, atol=TOLERANCE, rtol=0)
    for before, after in zip(curve(one), curve(other), strict=True):
        assert after == pytest.approx(before, abs=TOLERANCE, rel=TOLERANCE)


def curve(out):
    """Each line of the log without its speed."""
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text("utf-8").splitlines()]
    flat = [{**line, **(line.get("metrics") or {})} for line in lines if "step" in line]
    return [{k: v for k, v in line.items() if k not in ("metrics", "samples_per_second")} for line in flat]


def until_kept(out, steps, launch):
    end = time.monotonic() + 60
    while (steps_kept(out) or 0) < steps:
        assert time.monotonic() < end, launch.told()
        time.sleep(0.02)


@pytest.mark.parametrize("task", ["classify", "generate"])
@pytest.mark.parametrize("count", [2, 4])
def test_several_processes_take_the_steps_of_one(config, whole, tmp_path, task, count):
    given, out = config(task), tmp_path / "out"
    launch = Launch(tmp_path / "said", count, "train", "--config", given, "--out", out)
    assert launch.ended().codes == [0] * count, launch.told()
    same(whole(given), out)
    assert not folder_of(out).exists()
    for said in launch.said[1:]:
        assert said.read_text() == "", "the first process alone has something to say"


def test_each_process_reads_its_share_of_a_step():
    from edgetune.training.processes import Processes

    shares = [Processes(rank, 3).share(range(7)) for rank in range(3)]
    assert sorted(i for share in shares for i in share) == list(range(7))
    assert [len(share) for share in shares] == [3, 2, 2]
    assert [len(Processes(rank, 3).share([5])) for rank in range(3)] == [1, 0, 0]


def test_sigterm_to_one_process_stops_all_and_another_number_of_processes_goes_on(config, whole, tmp_path):
    given, out = config("classify", steps=40, eval_every=20, learning_rate=1e-3), tmp_path / "out"
    launch = Launch(tmp_path / "said", 2, "train", "--config", given, "--out", out)
    until_kept(out, 2, launch)
    launch.kill(1, signal.SIGTERM)
    assert launch.ended().codes == [143, 143], launch.told()
    kept = steps_kept(out)
    assert launch.told() == [f"edgetune: stopped after step {kept} of 40; continue with --resume"]
    assert kept < 40
    launch = Launch(tmp_path / "again", 3, "train", "--config", given, "--out", out, "--resume", "--save-every", 50)
    assert launch.ended().codes == [0, 0, 0], launch.told()
    assert f"continued after step {kept}" in launch.told()
    same(whole(given), out)


def test_sigterm_to_a_process_alone_keeps_the_last_step(config, whole, tmp_path):
    """At once, though a state is due only every 1000 steps."""
    given, out = config("classify", steps=40, save_every=1000, eval_every=1000, learning_rate=1e-3), tmp_path / "out"
    launch = Launch(tmp_path / "said", 1, "train", "--config", given, "--out", out)
    log = folder_of(out) / "log.jsonl"
    while not log.exists() or log.read_text().count("\n") < 3:
        time.sleep(0.02)
    launch.kill(0, signal.SIGTERM)
    assert launch.ended().codes == [143], launch.told()
    assert launch.told() == [f"edgetune: stopped after step {steps_kept(out)} of 40; continue with --resume"]
    assert steps_kept(out) >= 3
    launch = Launch(tmp_path / "again", 1, "train", "--config", given, "--out", out, "--resume", "--save-every", 50)
    assert launch.ended().codes == [0], launch.told()
    same(whole(given), out)


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_others_within_a_minute_and_the_run_goes_on(config, whole, tmp_path, victim):
    given, out = config("classify", steps=40, eval_every=20, learning_rate=1e-3), tmp_path / "out"
    launch = Launch(tmp_path / "said", 3, "train", "--config", given, "--out", out)
    until_kept(out, 2, launch)
    launch.kill(victim, signal.SIGKILL)
    ended = launch.ended(within=60)
    assert ended.codes == [-9 if rank == victim else 1 for rank in range(3)]
    errors = [line for line in launch.told() if line.startswith("edgetune: ")]
    assert len(errors) == 1 and ("another process has ended" in errors[0] or "process 0 has ended" in errors[0])
    if victim != 0:
        assert f"{steps_kept(out)} of 40 steps are kept; continue with --resume" in launch.told()
    assert "Traceback" not in "\n".join(launch.told())
    launch = Launch(tmp_path / "again", 2, "train", "--config", given, "--out", out, "--resume", "--save-every", 50)
    assert launch.ended().codes == [0, 0], launch.told()
    same(whole(given), out)


@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_falls_silent_ends_the_others(config, tmp_path, victim, monkeypatch):
    """It is stopped, so that its connections stay open and no collective ever returns."""
    monkeypatch.setattr(watch, "SILENCE", 2.0)
    monkeypatch.setattr(watch, "BEAT", 0.2)
    given, out = config("classify", steps=4000, eval_every=100), tmp_path / "out"
    launch = Launch(tmp_path / "said", 2, "train", "--config", given, "--out", out)
    until_kept(out, 2, launch)
    launch.kill(victim, signal.SIGSTOP)
    survivor, pid = 1 - victim, launch.pids[victim]
    stopped, launch.pids = launch.pids, [launch.pids[survivor]]
    try:
        assert launch.ended(within=30).codes == [1], launch.told()
    finally:
        launch.pids = stopped
        launch.kill(victim)
    assert launch.told() == [
        f"edgetune: nothing has been heard of the process {victim} for 2 s; continue with --resume where a state was "
        "kept"
    ]
    assert steps_kept(out) >= 2
    assert pid


def test_what_is_wrong_is_told_once(config, rows, tmp_path):
    out, bad = tmp_path / "out", tmp_path / "bad.jsonl"
    bad.write_text('{"text": "w1", "label": "no"}\n{"txt": "w2"}\n', "utf-8")
    given = config("classify")
    cases = {
        "rows": (["--data", bad], None, "bad.jsonl:2"),
        "loss": (["--learning-rate", "1e37"], None, "the loss is"),
        "taken": (["--data", rows("classify")], None, "exists and is a file"),
    }
    for name, (more, own, told) in cases.items():
        if name == "taken":
            out.write_text("mine")
        launch = Launch(tmp_path / name, 2, "train", "--config", given, "--out", out, *more, own=own)
        assert launch.ended().codes == [1, 1], (name, launch.told())
        assert len(launch.told()) == 1 and told in launch.told()[0], (name, launch.told())
        assert not folder_of(out).exists()


def test_processes_that_have_different_rows_are_refused(config, rows, tmp_path):
    common = ["train", "--config", config("classify"), "--out", tmp_path / "out"]
    own = {1: [*common, "--data", rows("classify", "held_out")]}
    launch = Launch(tmp_path / "said", 2, *common, own=own)
    assert launch.ended().codes == [1, 1]
    assert launch.told() == [
        "edgetune: the process 1 has other values of the training rows than the process 0. Give every machine the same "
        "files"
    ]


@pytest.mark.parametrize("task", ["classify", "generate"])
def test_evaluation_in_several_processes_is_that_of_one_to_the_last_bit(config, whole, rows, cli, tmp_path, task):
    adapter = whole(config(task, steps=2))
    held_out = tmp_path / "many.jsonl"
    held_out.write_text(Path(rows(task, "held_out")).read_text("utf-8") * 4, "utf-8")
    arguments = ["evaluate", "--adapter", adapter, "--data", held_out, "--json"]
    expected = json.loads(cli(*arguments).out)
    launch = Launch(tmp_path / "said", 2, *arguments)
    assert launch.ended().codes == [0, 0], launch.told()
    assert [json.loads(line) for line in launch.told()] == [expected]


def test_other_commands_are_for_one_process(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    for arguments in (["inspect", "x"], ["evaluate", "--bundle", "x", "--data", "y"]):
        told = cli(*arguments)
        assert told.code == 2 and "for one process" in told.err
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert cli("inspect", "x").err == ""
