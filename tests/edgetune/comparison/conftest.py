"""The command line in this process, and comparisons that many tests only read: made once, by the command itself."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgetune.cli import main

FAMILIES = {"classify": "bert", "generate": "llama"}


@pytest.fixture(scope="session")
def arguments(folders, rows):
    """`arguments("classify")`: the model and the rows of a small comparison."""

    def made(task):
        data = ["--data", rows(task), "--eval-data", rows(task, "held_out")]
        return ["compare", "--model", folders(FAMILIES[task]), *data, "--task", task]

    return made


@pytest.fixture(scope="session")
def compared(arguments, tmp_path_factory):
    """`compared["classify"]`: a folder with two variants of two seeds, its figures, and what was said on the way."""
    made = {}
    for task in FAMILIES:
        out = tmp_path_factory.mktemp("compared") / task
        budget = [
            "--methods",
            "prompt,prefix",
            "--steps",
            "6",
            "--batch-size",
            "8",
            "--lengths",
            "3",
            "--seeds",
            "2",
            "--eval-every",
            "3",
        ]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("COLUMNS", "80")
            said, printed = captured([*arguments(task), *budget, "--out", str(out)])
        figures = json.loads((out / "comparison.json").read_text("utf-8"))
        made[task] = SimpleNamespace(folder=out, figures=figures, said=said, printed=printed)
    return made


def captured(arguments):
    """What a command says on stderr and prints on stdout."""
    from contextlib import redirect_stderr, redirect_stdout
    from io import StringIO

    with redirect_stderr(StringIO()) as said, redirect_stdout(StringIO()) as printed:
        main([str(Path(x)) if isinstance(x, Path) else x for x in arguments])
    return said.getvalue(), printed.getvalue()
