"""How long a prefix is in each layer, and which options exclude each other."""

import pytest

from edgetune.config import TrainConfig
from edgetune.errors import ConfigError
from edgetune.methods.lengths import layer_lengths, positions_taken, refuse_exclusive, suffix_length


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [5, 5, 5, 5]),
        (dict(prefix_layers="last:1"), [0, 0, 0, 5]),
        (dict(prefix_layers="first:3"), [5, 5, 5, 0]),
        (dict(prefix_layers="3, 0"), [5, 0, 0, 5]),
        (dict(prefix_lengths="1,0, 30,2"), [1, 0, 30, 2]),
    ],
)
def test_each_layer_has_the_length_that_is_asked_for(options, expected):
    assert layer_lengths(TrainConfig(virtual_tokens=5, **options), 4) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(prefix_layers="last:5"), "the base has 4 layers; name 1 to 4"),
        (dict(prefix_layers="first:0"), "name 1 to 4"),
        (dict(prefix_layers="0,4"), "names layer 4, and the base has layers 0 to 3"),
        (dict(prefix_layers="middle"), "'middle'; give all, first:N, last:N or numbers, separated by commas"),
        (dict(prefix_layers=""), "give all"),
        (dict(prefix_lengths="1,2"), "lists 2 layers, and the base has 4; give one for each"),
        (dict(prefix_lengths="0,0,0,0"), "gives no layer a prefix"),
        (dict(prefix_lengths="1,-2,3,4"), "give a number for each layer, separated by commas"),
        (dict(prefix_lengths="1,2,3,4", prefix_layers="0"), "leave --prefix-layers out"),
    ],
)
def test_lengths_that_name_no_layers_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        layer_lengths(TrainConfig(**options), 4)


@pytest.mark.parametrize(("position", "expected"), [("before", 0), ("after", 5), ("both", 2)])
def test_the_larger_half_of_a_prompt_stands_in_front(position, expected):
    config = TrainConfig(method="prompt", virtual_tokens=5, prompt_position=position)
    assert suffix_length(config) == expected
    assert suffix_length(TrainConfig(method="prefix", virtual_tokens=5)) == 0


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (dict(method="prompt", prompt_position="both"), 6),
        (dict(method="prefix", prefix_lengths="2,9"), 9),
        (dict(method="prompt+prefix"), 12),
        (dict(method="prompt+prefix", prefix_lengths="0,9", prompt_position="after"), 15),
    ],
)
def test_an_adapter_takes_the_positions_of_prompt_and_longest_layer(base, options, expected):
    assert positions_taken(base("bert"), TrainConfig(virtual_tokens=6, **options)) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(method="prefix", prompt_position="after"), "--prompt-position is for prompts"),
        (dict(method="prompt", prefix_layers="0"), "--prefix-layers is for prefixes"),
        (dict(method="prompt", prefix_lengths="1,1"), "--prefix-lengths is for prefixes"),
        (dict(method="prompt", prefix_share="kv"), "--prefix-share is for prefixes"),
        (dict(method="prompt+prefix", reparameterise="lstm"), "lstm is P-tuning's"),
        (dict(init="adapter"), "--init-adapter FOLDER go together"),
        (dict(init_adapter="x"), "--init-adapter FOLDER go together"),
        (dict(prefix_places="encoder"), "--prefix-places is for the prefix of an encoder-decoder"),
    ],
)
def test_options_without_a_use_are_refused(base, options, message):
    with pytest.raises(ConfigError, match=message):
        refuse_exclusive(base("bert"), TrainConfig(**options))
