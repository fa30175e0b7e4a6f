"""Bases that many tests read and none changes, and the command line in this process."""

import functools
import json
from types import SimpleNamespace

import pytest
import torch
from transformers.utils import logging

from edgetune.cli import main

from .tiny import base_of, saved

torch.set_num_threads(1)
logging.disable_progress_bar()  # `main` does so by a variable, too late where transformers is imported already


@pytest.fixture(scope="session")
def base():
    """`base("llama")`: one base a family and session."""
    return functools.cache(base_of)


@pytest.fixture(scope="session")
def folders(base, tmp_path_factory):
    """`folders("bert")`: a checkpoint folder, as `--model` takes it; one a family and session."""
    return functools.cache(lambda family: str(saved(base(family), tmp_path_factory.mktemp("bases") / family)))


@pytest.fixture(scope="session")
def rows(tmp_path_factory):
    """`rows("classify")`: a small file of rows that can be learned, and `rows("classify", "held_out")`."""
    folder = tmp_path_factory.mktemp("rows")

    @functools.cache
    def written(task, name="train"):
        shift = {"train": 0, "held_out": 7}[name]
        made = {"classify": class_row, "generate": completion_row}[task]
        path = folder / f"{task}_{name}.jsonl"
        path.write_text("".join(json.dumps(made(i, shift)) + "\n" for i in range(24)), "utf-8")
        return str(path)

    return written


@pytest.fixture
def cli(capsys):
    """`cli("train", …)` → exit code, what it printed, and what it said on stderr."""

    def call(*arguments):
        capsys.readouterr()
        try:
            main([str(x) for x in arguments])
            code = 0
        except SystemExit as ending:
            code = ending.code
        out, err = capsys.readouterr()
        return SimpleNamespace(code=code, out=out, err=err)

    return call


def class_row(i, shift):
    return {"text": f"w{14 + i % 2} w{14 + i % 2} w{(i + shift) % 10}", "label": ("no", "yes")[i % 2]}


def completion_row(i, shift):
    return {"prompt": f"w{(i + shift) % 20}", "completion": f"w{(i + shift) % 20 + 1} w{30 + i % 3}"}
