"""The folder that a run leaves, and that the same configuration leaves the same bytes."""

import json

import pytest

from edgetune.adapter import load_adapter
from edgetune.config import TrainConfig, read_config
from edgetune.errors import DataError, OutputExistsError
from edgetune.training.result import train_into
from edgetune.training.run import train

FAMILIES = {"classify": "bert", "generate": "llama"}


@pytest.fixture
def config(folders, rows):
    def made(task, method, **options):
        given = dict(steps=4, batch_size=4, virtual_tokens=3, eval_every=2, seed=7)
        paths = dict(model=folders(FAMILIES[task]), data=rows(task), eval_data=rows(task, "held_out"))
        return TrainConfig(task=task, method=method, **{**paths, **given, **options})

    return made


def files(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.mark.parametrize("method", ["prompt", "prefix"])
@pytest.mark.parametrize("task", FAMILIES)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(config, base, tmp_path, task, method):
    b = base(FAMILIES[task])
    for name, seed in (("one", 7), ("two", 7), ("other", 8)):
        train_into(tmp_path / name, config(task, method, seed=seed), base=b)
    one, two, other = (files(tmp_path / name) for name in ("one", "two", "other"))
    assert one["adapter.safetensors"] == two["adapter.safetensors"] != other["adapter.safetensors"]
    assert one["adapter.json"] == two["adapter.json"] and one["run.toml"] == two["run.toml"]


def test_a_run_leaves_adapter_configuration_and_log(config, tmp_path):
    given = config("classify", "prefix")
    adapter, outcome = train_into(tmp_path / "out", given)
    assert sorted(files(tmp_path / "out")) == ["adapter.json", "adapter.safetensors", "log.jsonl", "run.toml"]
    assert TrainConfig(**read_config(tmp_path / "out" / "run.toml")) == given
    assert load_adapter(tmp_path / "out").labels == adapter.labels == ("no", "yes")
    log = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log[:-1]] == [1, 2, 2, 3, 4, 4]
    assert [set(entry["metrics"]) for entry in log if "metrics" in entry] == [{"loss", "accuracy", "macro_f1"}] * 2
    assert log[-1]["outcome"]["step"] == outcome.step and log[-1]["outcome"]["metrics"] == outcome.metrics


def test_a_saved_run_gives_the_same_adapter_again(config, base, tmp_path):
    train_into(tmp_path / "one", config("classify", "prompt"), base=base("bert"))
    train_into(tmp_path / "two", TrainConfig(**read_config(tmp_path / "one" / "run.toml")), base=base("bert"))
    assert files(tmp_path / "one")["adapter.safetensors"] == files(tmp_path / "two")["adapter.safetensors"]


def test_the_tokens_that_end_a_completion_are_kept(config, base, tmp_path):
    adapter, _ = train_into(tmp_path / "out", config("generate", "prefix"), base=base("llama"))
    assert adapter.tokens == {"eos": [3]} and not adapter.labels


def test_a_taken_place_is_told_before_any_step(config, base, tmp_path):
    (tmp_path / "adapter.json").write_text("{}")
    with pytest.raises(OutputExistsError):
        train_into(tmp_path, config("classify", "prompt"), lambda _: pytest.fail("it trained"), base=base("bert"))


def test_an_unknown_label_of_the_held_out_rows_is_told_before_any_step(config, base, tmp_path):
    (tmp_path / "dev.jsonl").write_text('{"text": "w1", "label": "yes"}\n{"text": "w1", "label": "maybe"}\n')
    given = config("classify", "prompt", eval_data=str(tmp_path / "dev.jsonl"))
    with pytest.raises(DataError, match=r'dev.jsonl:2: the label "maybe" is not among the 2 known'):
        train(given, lambda _: pytest.fail("it trained"), base("bert"))
