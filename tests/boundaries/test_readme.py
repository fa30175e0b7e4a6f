"""Every block of the documents runs as it is written, on tiny stand-ins for the base models that it names.

The commands of a document run one after the other in one folder. Three things differ from a reader's terminal: the base
models are tiny, `train` and `compare` take few steps, and commands of edgetune outside a pipe run in this process,
which has loaded torch already. Not run: `make` (it runs this test), `pip install` (it would change the environment
of the tests), and the pages of samples in JavaScript, which `runtime/js` tests.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from boundaries import tiny_models

from edgetune.cli import main

ROOT = Path(__file__).parents[2]
SAMPLES = sorted({path.parent / "README.md" for path in ROOT.glob("samples/*/*.py")})
DOCUMENTS = [ROOT / "README.md", *(path for path in SAMPLES if not (path.parent / "package.json").exists())]
STAND_INS = {
    "sentence-transformers/all-MiniLM-L6-v2": tiny_models.encoder,
    "HuggingFaceTB/SmolLM2-135M": tiny_models.decoder,
}
FEW_STEPS = ["--steps", "2", "--batch-size", "2"]
NOT_RUN = ("make ", "pip install ")


def blocks(document):
    """Language and text of the fenced blocks, in order."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", document.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def is_run(text):
    return not all(line.startswith(NOT_RUN) for line in text.splitlines())


def commands(text):
    """Single commands of edgetune, and the stretches of shell between them."""
    shell = ""
    for line in text.replace("\\\n", " ").splitlines(keepends=True):
        if line.startswith("edgetune ") and "|" not in line:
            yield shell, shlex.split(line, comments=True)[1:]
            shell = ""
        else:
            shell += line
    yield shell, None


def run_shell(text):
    for shell, arguments in commands(text):
        if shell.strip():
            run(["bash", "-euo", "pipefail", "-c", shell])
        if arguments:
            main([*arguments, *(FEW_STEPS if arguments[0] in ("train", "compare") else [])])


def run(command):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory):
    """The named base models, as checkpoints: transformers looks for a local folder before it asks the hub."""
    folder = tmp_path_factory.mktemp("hub")
    for name, made in STAND_INS.items():
        tiny_models.save(made(), folder / name)
    return folder


@pytest.fixture
def workplace(tmp_path, stand_ins, monkeypatch):
    """A folder that looks like the checkout to what the documents do."""
    for path in [*stand_ins.iterdir(), ROOT / "samples", ROOT / "edgetune"]:
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
class TestDocument:
    def test_runs_as_it_is_written(self, document, workplace):
        for language, text in blocks(document):
            if language == "python":
                run([sys.executable, "-c", text])
            elif is_run(text):
                run_shell(text)

    def test_has_no_block_that_would_not_run(self, document):
        assert {language for language, _ in blocks(document)} <= {"sh", "python"}


@pytest.mark.parametrize("document", [ROOT / "README.md", *sorted(ROOT.glob("samples/*/README.md"))], ids=str)
def test_links_to_files_that_are_there(document):
    links = re.findall(r"\]\((?!https?://)([^)#]+)", document.read_text("utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_make_has_the_targets_that_the_readme_names():
    lines = [line for _, text in blocks(ROOT / "README.md") for line in text.splitlines()]
    named = {line.split()[1] for line in lines if line.startswith("make ")}
    assert named == {"demo", "test"}
    assert named <= set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def test_make_has_the_variables_that_the_readme_names():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for name in re.findall(r"\b([A-Z]+)=", (ROOT / "README.md").read_text("utf-8")):
        assert re.search(rf"^{name} \?=", makefile, re.MULTILINE), name
