"""A short round of the fuzzing that `make fuzz` does for long, and what it once found."""

from __future__ import annotations

import json
import random
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from edgetune_runtime import EdgetuneError
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import run
from targets import TARGETS

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize("name", TARGETS)
def test_changed_files_and_texts_end_in_errors_of_ours(name, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "FOUND", tmp_path)
    lines: list[str] = []
    counts = run.fuzzed([name], random.Random(1), until=float("inf"), most=TARGETS[name].turn, log=lines.append)
    assert counts[name] == TARGETS[name].turn
    assert counts["problems"] == 0, lines


@pytest.mark.parametrize("path", sorted(run.CORPUS.glob("*/*")), ids=lambda x: f"{x.parent.name}-{x.name}")
def test_what_was_found_once_is_found_no_more(path):
    target = TARGETS[path.parent.name]
    with suppress(EdgetuneError):
        target.run(path.read_bytes())


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(), max_size=200))
def test_any_text_is_read_and_none_of_it_controls(text):
    TARGETS["text"].run(text.encode("utf-8", "surrogatepass"))


@settings(max_examples=60, deadline=None)
@given(JSON, st.sampled_from(["manifest", "messages", "versions"]))
def test_any_json_ends_in_errors_of_ours(value, name):
    with suppress(EdgetuneError):
        TARGETS[name].run(json.dumps(value).encode())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("abc", max_size=3), max_size=4), st.text("abc", max_size=12), st.integers(1, 4))
def test_a_text_ends_before_the_first_stop_string_however_it_is_cut(stops, text, width):
    pieces = [text[i : i + width] for i in range(0, len(text), width)]
    TARGETS["stop_strings"].run("|".join([",".join(stops), *pieces]).encode())


def test_the_fuzzer_sees_what_is_wrong():
    def broken(data: bytes) -> None:
        raise KeyError("x")

    assert "KeyError" in (run.problem(run.Target(broken, []), b"") or "")
    assert run.problem(run.Target(lambda data: None, []), b"") is None
