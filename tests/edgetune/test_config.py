"""A run's options survive their file, and wrong ones are told in one line."""

import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetune.config import CHOSEN_POOLINGS, LEARNING_RATES, METHODS, TrainConfig, read_config
from edgetune.errors import ConfigError

text = st.text(st.characters(exclude_categories=["Cs"]))
rate = st.floats(0, allow_nan=False, allow_infinity=False)
configs = st.builds(
    TrainConfig,
    model=text,
    data=text,
    eval_data=st.none() | text,
    task=st.sampled_from(["classify", "tag", "regress", "generate"]),
    method=st.sampled_from(METHODS),
    virtual_tokens=st.integers(1, 10**6),
    columns=st.dictionaries(text, text, max_size=3),
    steps=st.integers(0, 10**9),
    batch_size=st.integers(1, 10**4),
    learning_rate=st.none() | rate,
    warmup=rate,
    weight_decay=rate,
    clip_norm=rate,
    pooling=st.sampled_from(CHOSEN_POOLINGS),
    max_length=st.none() | st.integers(2, 10**6),
    eval_every=st.integers(1, 10**6),
    seed=st.integers(-(2**40), 2**40),
)


@settings(deadline=None, max_examples=50)
@given(configs)
def test_a_run_reads_back_as_it_was_written(tmp_path_factory, config):
    path = tmp_path_factory.getbasetemp() / "run.toml"
    path.write_text(config.toml(), encoding="utf-8")
    assert TrainConfig(**read_config(path)) == config


@pytest.mark.parametrize(
    "value", ["\x7f", "\x00\x1f\n\r\t", 'quote " and \\ backslash', "C:\\data", "日本語 🌍", "\u2028"]
)
def test_awkward_strings_survive_as_values_and_as_column_names(tmp_path, value):
    config = TrainConfig(data=value, columns={value: value})
    (tmp_path / "run.toml").write_text(config.toml(), encoding="utf-8")
    assert TrainConfig(**read_config(tmp_path / "run.toml")) == config


def test_every_task_and_method_has_its_own_peak_rate():
    for task in ("classify", "generate"):
        for method in METHODS:
            assert TrainConfig(task=task, method=method).peak_learning_rate == LEARNING_RATES[task, method]
    assert TrainConfig(learning_rate=0.5).peak_learning_rate == 0.5


def test_every_option_says_what_it_means():
    assert all(f.metadata["help"].endswith(".") for f in dataclasses.fields(TrainConfig))


@pytest.mark.parametrize("options, told", [
    ({"method": "lora"}, "method is 'lora'; choose prompt or prefix"),
    ({"pooling": "max"}, "pooling is 'max'; choose mean or first"),
    ({"virtual_tokens": 0}, "virtual_tokens is 0; the least is 1"),
    ({"steps": -1}, "steps is -1; the least is 0"),
    ({"steps": 1.5}, "steps is 1.5; give a whole number"),
    ({"steps": "10"}, "steps is '10'; give a number"),
    ({"batch_size": True}, "batch_size is True; give a number"),
    ({"learning_rate": -0.1}, "learning_rate is -0.1; the least is 0"),
    ({"learning_rate": math.nan}, "learning_rate is nan; the least is 0"),
    ({"max_length": 1}, "max_length is 1; the least is 2"),
])  # fmt: skip
def test_a_value_out_of_its_range_is_refused(options, told):
    with pytest.raises(ConfigError) as caught:
        TrainConfig(**options)
    assert told in str(caught.value)


@pytest.mark.parametrize("content, told", [
    (b"stepz = 3\n", "unknown option 'stepz'; known: model, data, "),
    (b"steps = \n", "is not TOML"),
    (b"steps = 3\nsteps = 4\n", "is not TOML"),
    (b"model = '\xff'\n", "is not TOML"),
])  # fmt: skip
def test_a_file_that_cannot_be_used_is_named(tmp_path, content, told):
    (tmp_path / "run.toml").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_config(tmp_path / "run.toml")
    assert str(tmp_path / "run.toml") in str(caught.value) and told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read the configuration .*none.toml: No such file"):
        read_config(tmp_path / "none.toml")


@pytest.mark.parametrize(
    "line", ["model = 3", "data = ['a']", "seed = 'x'", "columns = 'label=category'", "eval_data = 1"]
)
def test_a_value_of_the_wrong_type_is_refused(tmp_path, line):
    (tmp_path / "run.toml").write_text(line)
    with pytest.raises(ConfigError, match=line.split()[0]):
        TrainConfig(**read_config(tmp_path / "run.toml"))
