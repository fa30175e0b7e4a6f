"""What a comparison runs."""

import pytest

from edgetune.comparison.plan import planned
from edgetune.config import METHODS, TrainConfig
from edgetune.errors import ConfigError
from edgetune.sweep.variant import evaluating
from edgetune.sweep.variants import changes_asked

CONFIG = TrainConfig(model="m", data="d", eval_data="e", steps=10)
NOTHING = {"method": None, "virtual_tokens": None, "init": None, "reparameterise": None}


def names(lists=NOTHING, variants=(), config=CONFIG):
    return [variant.name for variant in planned(config, changes_asked(lists, variants)).variants]


def test_without_a_choice_every_method_runs_as_train_would():
    plan = planned(CONFIG, changes_asked(NOTHING, ()))
    assert [variant.name for variant in plan.variants] == [f"{m.replace('+', '-')}-20" for m in METHODS]
    assert [variant.config.method for variant in plan.variants] == list(METHODS)
    assert plan.seeds == (0, 1, 2)


def test_lists_are_combined():
    lists = {**NOTHING, "method": "prompt, prefix", "virtual_tokens": "5,10", "init": "vocab,text"}
    assert names(lists) == [
        "prompt-5", "prompt-5-text", "prompt-10", "prompt-10-text",
        "prefix-5", "prefix-5-text", "prefix-10", "prefix-10-text",
    ]  # fmt: skip


def test_variants_name_their_options_in_full():
    given = ["prefix,virtual_tokens=5,learning-rate=0.02", "prompt,reparameterise=mlp"]
    plan = planned(CONFIG, changes_asked(NOTHING, given))
    prefix, prompt = plan.variants
    assert (prefix.name, prompt.name) == ("prefix-5-lr-0.02", "prompt-20-mlp")
    assert (prefix.config.virtual_tokens, prefix.config.learning_rate) == (5, 0.02)
    assert prefix.described == "prefix, 5 tokens, learning rate 0.02"


def test_variants_may_differ_in_every_option_of_the_methods():
    given = [
        "prefix,prefix_layers=0,2,virtual_tokens=5", "prefix,prefix-lengths=4, 0 ,8",
        "prompt,prompt_position=after", "prompt+prefix,prompt_position=both", "prefix,prefix_share=kv",
        "prefix,prefix_layers=last:3",
    ]  # fmt: skip
    variants = planned(CONFIG, changes_asked(NOTHING, given)).variants
    assert [variant.name for variant in variants] == [
        "prefix-5-prefix_layers-0-2", "prefix-20-prefix_lengths-4-0-8", "prompt-20-after", "prompt-prefix-20-both",
        "prefix-20-kv", "prefix-20-last-3",
    ]  # fmt: skip
    assert (variants[0].config.prefix_layers, variants[1].config.prefix_lengths) == ("0,2", "4,0,8")
    assert variants[1].described == "prefix, prefix lengths 4,0,8"
    assert variants[3].described == "prompt+prefix, 20 tokens, prompt position both"


def test_every_variant_runs_once_before_any_runs_twice():
    runs = planned(CONFIG, changes_asked({**NOTHING, "method": "prompt,prefix"}, ()), seeds=3).runs
    assert [(run.variant.config.method, run.config.seed) for run in runs] == [
        ("prompt", 0), ("prefix", 0), ("prompt", 1), ("prefix", 1), ("prompt", 2), ("prefix", 2),
    ]  # fmt: skip
    assert runs[3].described == "run 4 of 6: prefix, 20 tokens, seed 1"


def test_all_runs_have_one_budget():
    runs = planned(CONFIG, changes_asked({**NOTHING, "virtual_tokens": "1,2"}, ())).runs
    assert len({(run.config.steps, run.config.batch_size, run.config.eval_every) for run in runs}) == 1


def test_a_run_is_evaluated_five_times_unless_told_otherwise():
    assert evaluating({"steps": 60})["eval_every"] == 12
    assert evaluating({"steps": 3})["eval_every"] == 1
    assert evaluating({"steps": 60, "eval_every": 7})["eval_every"] == 7


@pytest.mark.parametrize(
    ("lists", "variants", "told"),
    [
        ({"method": "lora"}, (), "method is 'lora'"),
        ({"virtual_tokens": "ten"}, (), "virtual_tokens is 'ten'"),
        ({"virtual_tokens": "0"}, (), "virtual_tokens is 0"),
        ({"virtual_tokens": ","}, (), "lists nothing"),
        ({"virtual_tokens": "5,5"}, (), "asked for 2 times"),
        ({"method": "prompt"}, ("prefix",), "leave the lists"),
        ({}, ("lora,virtual_tokens=5",), "begins with no method"),
        ({}, ("prefix,steps=5",), "all variants share"),
        ({}, ("prefix,tokens=5",), "not OPTION=VALUE"),
        ({}, ("prefix,virtual_tokens",), "not OPTION=VALUE"),
        ({}, ("prefix,virtual_tokens=5,6",), "not OPTION=VALUE"),
        ({}, ("prefix,prefix_share=keys",), "prefix_share is 'keys'"),
        ({}, ("prefix,virtual_tokens=1.5",), "virtual_tokens is 1.5"),
    ],
)
def test_what_cannot_be_read_is_refused(lists, variants, told):
    with pytest.raises(ConfigError, match=told):
        names({**NOTHING, **lists}, variants)


@pytest.mark.parametrize(("option", "told"), [({"steps": 0}, "steps is 0"), ({"eval_data": None}, "eval_data")])
def test_a_budget_that_compares_nothing_is_refused(option, told):
    from dataclasses import replace

    with pytest.raises(ConfigError, match=told):
        planned(replace(CONFIG, **option), changes_asked(NOTHING, ()))


def test_no_seeds_are_refused():
    with pytest.raises(ConfigError, match="seeds is 0"):
        planned(CONFIG, changes_asked(NOTHING, ()), seeds=0)
