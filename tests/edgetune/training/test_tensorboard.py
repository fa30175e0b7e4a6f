"""Curves for TensorBoard: those of the log, each step once, and a clear word where TensorBoard is missing."""

import json
import os
import sys

import pytest

from edgetune.config import TrainConfig
from edgetune.errors import ConfigError
from edgetune.training.result import train_into


@pytest.fixture
def config(folders, rows, tmp_path):
    paths = dict(model=folders("bert"), data=rows("classify"), eval_data=rows("classify", "held_out"))
    given = dict(steps=8, batch_size=4, eval_every=4, save_every=2, tensorboard=str(tmp_path / "curves"))
    return TrainConfig(**paths, **given)


def test_a_missing_tensorboard_is_told_before_training(config, base, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    with pytest.raises(ConfigError, match="pip install tensorboard"):
        train_into(tmp_path / "out", config, base=base("bert"))
    assert os.listdir(tmp_path) == []


def test_the_curves_are_those_of_the_log_and_continue_without_duplicates(config, base, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    def stop(progress):
        if progress.step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_into(tmp_path / "out", config, stop, base=base("bert"))
    train_into(tmp_path / "out", config, base=base("bert"), resume=True)
    events = accumulator.EventAccumulator(str(tmp_path / "curves"))
    events.Reload()
    lines = [json.loads(x) for x in (tmp_path / "out" / "log.jsonl").read_text().splitlines()[:-1]]
    for tag, name in (("training/loss", "loss"), ("training/learning_rate", "learning_rate")):
        found = [(e.step, e.value) for e in events.Scalars(tag)]
        expected = [(x["step"], pytest.approx(x[name])) for x in lines if "metrics" not in x]
        assert found == expected and [step for step, _ in found] == list(range(1, 9))
    assert [e.step for e in events.Scalars("evaluation/accuracy")] == [4, 8]
