"""`edgetune bake`: a text goes into a bundle, or into a folder, and what cannot be is refused in one line."""

import io

import edgetune_runtime
import pytest
from rich.console import Console

from edgetune.adapter import load_adapter
from edgetune.reports.export import export_report

TEXT = "w3 w4 w5 w6\n"


@pytest.fixture
def text(tmp_path):
    (tmp_path / "system.txt").write_text(TEXT, "utf-8")
    return tmp_path / "system.txt"


def test_a_bundle_takes_a_text_in(cli, copied, text):
    bundle = copied("generate")
    found = cli("bake", "--bundle", bundle, "--text", text, "--storage", "int8")
    assert found.code == 0 and "added to" in found.err, found
    model = edgetune_runtime.load(bundle)
    assert "system" in model.adapters and model.generate("w7", adapter="system", max_new_tokens=4).token_ids


def test_a_model_makes_a_folder(cli, folders, text, tmp_path):
    found = cli("bake", "--model", folders("llama"), "--text", text, "--out", tmp_path / "a")
    assert found.code == 0, found
    adapter = load_adapter(tmp_path / "a")
    assert adapter.begins_text and adapter.virtual_tokens >= 4


def test_what_cannot_be_baked_is_one_line(refused, folders, copied, text, tmp_path):
    assert "is an encoder" in refused("bake", "--bundle", copied("classify"), "--text", text)
    assert "no such file" in refused("bake", "--model", folders("llama"), "--text", tmp_path / "x", "--out", tmp_path)


def test_a_bar_is_drawn_on_a_terminal_alone():
    for terminal in (False, True):
        shown = io.StringIO()
        with export_report(Console(file=shown, force_terminal=terminal)) as report:
            report.stage("tracing")
            report.stage("writing", 3, 4)
        assert ("writing" in shown.getvalue()) == terminal
        assert bool(shown.getvalue()) == terminal
