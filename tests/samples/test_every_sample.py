"""What holds for every sample: short, over the runtime alone, with a README."""

import ast
import sys
from pathlib import Path

import pytest

SAMPLES = Path(__file__).parents[2] / "samples"
WORKSHOP = SAMPLES / "web"
"""What makes a page and its bundles is not what a device runs."""
FILES = sorted(path for path in SAMPLES.glob("*/*.py") if path.parent != WORKSHOP)
SCRIPTS = sorted(SAMPLES.glob("*/*.mjs"))
"""Programs in JavaScript, which the tests of `runtime/js` run."""
SCREENS = sorted(SAMPLES.glob("*/App.tsx"))
"""Apps for phones, which `make types-js` checks."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
class TestSample:
    def test_has_at_most_thirty_lines(self, path):
        assert len(path.read_text("utf-8").splitlines()) <= 30

    def test_imports_the_runtime_and_the_standard_library_alone(self, path):
        nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
        names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "." for node in nodes if isinstance(node, ast.ImportFrom)}
        assert names - sys.stdlib_module_names == {"edgetune_runtime"}

    def test_uses_public_names_alone(self, path):
        nodes = ast.walk(ast.parse(path.read_text("utf-8")))
        assert not [node.attr for node in nodes if isinstance(node, ast.Attribute) and node.attr.startswith("_")]

    def test_has_a_readme_that_names_it(self, path):
        assert path.name in (path.parent / "README.md").read_text("utf-8")


def test_there_is_one_program_in_each_folder():
    folders = [folder for folder in SAMPLES.iterdir() if folder.is_dir()]
    assert sorted(path.parent for path in [*FILES, *SCRIPTS, *SCREENS]) == sorted(folders)
    assert len(FILES) >= 2


@pytest.mark.parametrize("path", [*SCRIPTS, *SCREENS, *WORKSHOP.glob("make_*.py")], ids=lambda path: path.name)
def test_a_script_has_a_readme_that_names_it(path):
    assert path.name in (path.parent / "README.md").read_text("utf-8")
