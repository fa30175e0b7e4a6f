"""A short round of the fuzzing that `make fuzz` does for long, and what it once found or keeps."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from edgetune_runtime import EdgetuneError
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import feeding
import keeping
import run
from board import Board
from engines import ENGINES
from strategies import JSON, STRATEGIES, written
from targets import TARGETS, Target


def turns(count: int) -> Iterator[bool]:
    """True as often."""
    return iter([True] * count + [False])


@pytest.mark.parametrize("name", TARGETS)
def test_changed_files_and_texts_end_in_errors_of_ours(name, tmp_path, monkeypatch):
    monkeypatch.setattr(feeding, "FOUND", tmp_path)
    lines: list[str] = []
    feed, left = feeding.Feeding(name, lines.append), turns(TARGETS[name].turn)
    ENGINES["mutations"](name, feed, 1, lambda: next(left))
    assert feed.executions == TARGETS[name].turn
    assert not lines


@pytest.mark.parametrize("name", TARGETS)
def test_what_hypothesis_draws_ends_in_errors_of_ours(name):
    lines: list[str] = []
    feed = feeding.Feeding(name, lines.append)
    settings(max_examples=20, deadline=None, database=None)(given(STRATEGIES[name])(lambda data: feed(data)))()
    assert feed.executions >= 20
    assert not lines


@pytest.mark.parametrize("name", TARGETS)
def test_what_was_found_once_or_kept_ends_in_errors_of_ours(name):
    for data in feeding.corpus_of(name):
        assert feeding.problem(TARGETS[name], data) is None, data


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(), max_size=200))
def test_any_text_is_read_and_none_of_it_controls(text):
    TARGETS["text"].run(text.encode("utf-8", "surrogatepass"))


@settings(max_examples=60, deadline=None)
@given(JSON, st.sampled_from(["manifest", "messages", "versions"]))
def test_any_json_ends_in_errors_of_ours(value, name):
    with suppress(EdgetuneError):
        TARGETS[name].run(written(value))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("abc", max_size=3), max_size=4), st.text("abc", max_size=12), st.integers(1, 4))
def test_a_text_ends_before_the_first_stop_string_however_it_is_cut(stops, text, width):
    pieces = [text[i : i + width] for i in range(0, len(text), width)]
    TARGETS["stop_strings"].run("|".join([",".join(stops), *pieces]).encode())


def test_the_fuzzer_sees_what_is_wrong():
    def broken(data: bytes) -> None:
        raise KeyError("x")

    assert "KeyError" in (feeding.problem(Target(broken, []), b"") or "")
    assert feeding.problem(Target(lambda data: None, []), b"") is None


def test_a_process_is_watched_and_what_it_was_reading_is_known(tmp_path, monkeypatch):
    monkeypatch.setattr(feeding, "FOUND", tmp_path / "found")

    def ending(engine, reader, board, seconds, seed):
        code = f"from pathlib import Path; from board import Board; Board(Path({str(board)!r})).begin(b'xyz'); " + {
            "a": "import os; os.abort()",
            "b": "[0 for _ in iter(int, 1)]",
            "c": "print('KeyError at x')",
        }.get(engine, "")
        return [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(run.HERE)!r}); {code}"]

    monkeypatch.setattr(run, "command_of", ending)
    monkeypatch.setattr(run, "HANGS_S", 1)
    found = {x: run.fed(x, "manifest", 0.5, 0, tmp_path) for x in "abc"}
    assert [x.executions for x in found.values()] == [1, 1, 1]
    assert found["a"].problems[0].startswith("ends the process with -6")
    assert found["b"].problems[0].startswith("hangs")
    assert found["c"].problems == ("KeyError at x",)
    assert [x.read_bytes() for x in (tmp_path / "found" / "manifest").iterdir()] == [b"xyz"]
    assert run.table_of(list(found.values()))[-1].split() == ["all", "1", "1", "1", "3"]


def test_the_board_says_the_same_to_both(tmp_path):
    one, other = Board(tmp_path / "x"), Board(tmp_path / "x")
    one.begin(b"long")
    one.begin(b"abc")
    assert (other.executions, other.current) == (2, b"abc")


def test_a_log_has_the_executions_of_all_its_runs():
    lines = [
        "x 9",
        "06:00:00 a by b: 12 executions in 3 s",
        "06:00:00 c by b: 30 executions in 3 s",
        "DONE 42 executions",
    ]
    assert run.executions_of("\n".join(lines)) == 42


def test_time_is_shared_out_whole():
    given = run.turns(["atheris", "mutations"], ["manifest", "tokenizer"], 2)
    assert sum(seconds for *_, seconds in given) == pytest.approx(120)
    assert len(given) == 4 and all(seconds > 0 for *_, seconds in given)


def test_what_reaches_new_lines_is_kept_and_nothing_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(keeping, "CORPUS", tmp_path / "corpus")
    (tmp_path / "new").mkdir()
    (tmp_path / "corpus").mkdir()
    seed = TARGETS["stop_strings"].seeds[0]
    for name, data in {"same": seed, "other": b"|", "more": b"||", "long": b"x" * 5000}.items():
        (tmp_path / "new" / name).write_bytes(data)
    monkeypatch.setattr(keeping, "corpus_of", lambda name: [seed])
    assert keeping.keep_new("stop_strings", tmp_path / "new") == 1
    assert [x.name for x in (tmp_path / "corpus" / "stop_strings").iterdir()] == ["other"]
