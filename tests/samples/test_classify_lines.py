"""The sample that labels lines does, for every line and as soon as it has read it."""

import subprocess
import sys
from pathlib import Path

import edgetune_runtime

SAMPLE = Path(__file__).parents[2] / "samples" / "classify_lines" / "classify.py"


def classify(*arguments, lines=""):
    command = [sys.executable, SAMPLE, *map(str, arguments)]
    return subprocess.run(command, input=lines, capture_output=True, text=True, encoding="utf-8")


def test_every_line_gets_its_label(intents):
    texts = ["where is my parcel?", "give me my money back", "thank you"]
    done = classify(intents, lines="\n".join(texts))
    answers = edgetune_runtime.load(intents).classify(texts)
    assert done.stdout.splitlines() == [f"{a.label}\t{a.score:.2f}\t{t}" for a, t in zip(answers, texts)], done.stderr


def test_blank_lines_are_passed_over(intents):
    assert len(classify(intents, lines="\n  \none\n\ntwo\n\n").stdout.splitlines()) == 2


def test_a_line_is_answered_while_the_pipe_is_open(intents):
    command = [sys.executable, SAMPLE, str(intents)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as sample:
        assert sample.stdin and sample.stdout
        sample.stdin.write("first\n")
        sample.stdin.flush()
        assert sample.stdout.readline().endswith("\tfirst\n")
        sample.stdin.close()
        assert sample.wait() == 0


def test_a_missing_bundle_is_told_in_one_line(tmp_path):
    done = classify(tmp_path / "nothing")
    assert done.returncode == 1
    assert done.stderr.startswith("classify: ") and len(done.stderr.splitlines()) == 1


def test_wrong_usage_is_told():
    assert classify().stderr.startswith("usage: ")
