"""The story teller streams what the runtime generates, by any adapter or none."""

import os
import subprocess
import sys
from pathlib import Path

import edgetune_runtime

SAMPLE = Path(__file__).parents[2] / "samples" / "story_teller" / "story.py"


def tell(*arguments):
    command = [sys.executable, SAMPLE, *map(str, arguments)]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(command, capture_output=True, env=environment)


def test_the_story_is_what_the_default_adapter_generates(voices):
    done = tell(voices, "A fox")
    told = edgetune_runtime.load(voices).generate("A fox", max_new_tokens=200)
    assert done.stdout.decode() == f"A fox{told.text}\n", done.stderr


def test_the_named_adapter_tells_another_story(voices):
    told = edgetune_runtime.load(voices).generate("A fox", adapter="loud", max_new_tokens=200)
    assert tell(voices, "A fox", "loud").stdout.decode() == f"A fox{told.text}\n"
    assert tell(voices, "A fox", "loud").stdout != tell(voices, "A fox", "calm").stdout


def test_a_real_model_tells_of_lily(stories):
    assert tell(stories, "Once upon a time").stdout.startswith(b"Once upon a time, there was a little girl named Lily.")


def test_an_unknown_adapter_is_told_in_one_line(voices):
    done = tell(voices, "A fox", "sad")
    assert done.returncode == 1
    assert done.stderr.decode().startswith("story: no adapter 'sad' here") and len(done.stderr.splitlines()) == 1


def test_wrong_usage_is_told():
    assert tell().stderr.startswith(b"usage: ")
