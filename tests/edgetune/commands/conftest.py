"""Results that many tests only read: made once, by the commands themselves."""

import json
import shutil

import pytest

from edgetune.cli import main

FAMILIES = {"classify": "bert", "generate": "llama"}


@pytest.fixture
def refused(cli):
    """`refused("train", …)` → the one line that an error is; everything else about it is asserted here."""

    def call(*arguments):
        found = cli(*arguments)
        assert found.code == 1, found
        assert "Traceback" not in found.err and found.out == ""
        assert found.err.startswith("edgetune: ") and found.err.count("\n") == 1, found.err
        return found.err

    return call


@pytest.fixture(scope="session")
def trained(folders, rows, tmp_path_factory):
    """`trained["classify", "prefix"]`: an adapter's folder, trained by the command."""
    made = {}
    for task, family in FAMILIES.items():
        for method in ("prefix", "prompt"):
            out = tmp_path_factory.mktemp("trained") / f"{task}-{method}"
            main([
                "train", "--model", folders(family), "--data", rows(task), "--eval-data", rows(task, "held_out"),
                "--task", task, "--method", method, "--steps", "30", "--batch-size", "8", "--virtual-tokens", "3",
                "--eval-every", "30", "--out", str(out),
            ])  # fmt: skip
            made[task, method] = out
    return made


@pytest.fixture(scope="session")
def bundles(folders, trained, tmp_path_factory):
    """`bundles["generate"]`: a shared bundle with the adapters `prefix` and `prompt`, exported by the command."""
    made = {}
    for task, family in FAMILIES.items():
        made[task] = tmp_path_factory.mktemp("bundles") / task
        adapters = [x for method in ("prefix", "prompt") for x in ("--adapter", f"{method}={trained[task, method]}")]
        main(["export", "--model", folders(family), *adapters, "--out", str(made[task])])
    return made


@pytest.fixture
def copied(bundles, tmp_path):
    """`copied("classify")`: a bundle that a test may change."""
    return lambda task: shutil.copytree(bundles[task], tmp_path / "bundle")


@pytest.fixture
def tree():
    """`tree(folder)`: every path below it with its bytes."""
    return lambda folder: {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))
    }


@pytest.fixture
def written(tmp_path):
    """`written("rows.jsonl", row, row)`: a file of rows."""

    def write(name, *made):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in made), "utf-8")
        return tmp_path / name

    return write
