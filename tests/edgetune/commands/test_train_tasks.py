"""`edgetune train --tasks`: what it says and leaves, and what happens to bad input."""

import json
import os

import pytest
import tomllib

from edgetune.adapter import load_adapter


@pytest.fixture
def file(folders, rows, tmp_path):
    """`file(b="steps = 3")`: tasks a and b that work, b a little different."""

    def made(**tables):
        asked = {"a": f'data = "{rows("classify")}"\neval_data = "{rows("classify", "held_out")}"', "b": "", **tables}
        if "data" not in asked["b"]:
            asked["b"] += f'\ndata = "{rows("classify")}"'
        shared = f'model = "{folders("bert")}"\ntask = "classify"\nsteps = 2\nbatch_size = 4\nvirtual_tokens = 2\n'
        text = shared + "".join(f"[tasks.{name}]\n{table}\n" for name, table in asked.items())
        (tmp_path / "tasks.toml").write_text(text, "utf-8")
        return tmp_path / "tasks.toml"

    return made


def test_all_tasks_are_told_of_and_what_comes_next(cli, file, folders, tmp_path):
    out = tmp_path / "out"
    found = cli("train", "--tasks", file(b='method = "prompt"\nsteps = 3'), "--out", out)
    assert found.code == 0 and found.out == "", found.err
    assert "a: kept step 2: accuracy " in found.err and "b: kept step 3 (2 of 2 done)" in found.err
    assert "2 tasks" in found.err and "accuracy" in found.err and "520 B" in found.err
    assert f"next: edgetune export --model {folders('bert')} --adapter {out / 'a'} --adapter {out / 'b'}" in found.err
    assert load_adapter(out / "a").method == "prefix" and load_adapter(out / "b").method == "prompt"
    assert tomllib.loads((out / "b" / "run.toml").read_text())["steps"] == 3


def test_a_tasks_run_toml_is_a_file_of_config(cli, file, tmp_path):
    assert cli("train", "--tasks", file(), "--out", tmp_path / "out").code == 0
    again = cli("train", "--config", tmp_path / "out" / "a" / "run.toml", "--out", tmp_path / "again")
    assert again.code == 0 and load_adapter(tmp_path / "again").labels == ("no", "yes")


def test_the_command_line_wins_for_all_tasks(cli, file, tmp_path):
    assert cli("train", "--tasks", file(b="steps = 3"), "--steps", 1, "--seed", 4, "--out", tmp_path / "out").code == 0
    for name in "ab":
        lines = (tmp_path / "out" / name / "log.jsonl").read_text().splitlines()
        assert json.loads(lines[-1])["outcome"]["step"] == 1
        assert tomllib.loads((tmp_path / "out" / name / "run.toml").read_text())["seed"] == 4


@pytest.mark.parametrize("tables, more, told", [
    ({"b": 'data = "nowhere.jsonl"'}, [], "task 'b': "),
    ({"b": "steps = -1"}, [], "tasks.toml, task 'b': steps is -1; the least is 0"),
    ({"b": "stepps = 1"}, [], "tasks.toml, task 'b': unknown option 'stepps'"),
    ({"b": "patience = 3"}, [], "task 'b': patience counts evaluations and there are no rows for them"),
    ({}, ["--data", "x.jsonl"], "--data does not go with --tasks"),
])  # fmt: skip
def test_what_is_wrong_with_one_task_is_one_line_and_leaves_nothing(refused, file, tmp_path, tables, more, told):
    assert told in refused("train", "--tasks", file(**tables), "--out", tmp_path / "out", *more)
    assert sorted(os.listdir(tmp_path)) == ["tasks.toml"]


def test_a_configuration_beside_the_file_is_wrong_usage(cli, file, tmp_path):
    found = cli("train", "--tasks", file(), "--config", "run.toml", "--out", tmp_path / "out")
    assert found.code == 2 and "--config does not go with --tasks" in found.err


def test_a_launchers_processes_are_refused(refused, file, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "--tasks trains in one process" in refused("train", "--tasks", file(), "--out", tmp_path / "out")
