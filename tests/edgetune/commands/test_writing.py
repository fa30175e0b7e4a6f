"""The flags of `edgetune run` for generators do what the runtime's options of their names do."""

import math
from pathlib import Path

import edgetune_runtime
import pytest
from click import UsageError
from click.testing import CliRunner

from edgetune.cli import edgetune
from edgetune.commands.writing import refuse_in_conversation

BUNDLE = Path(__file__).parents[2] / "golden" / "decoder-shared"
TEXT, BRIEF = "once upon a time", ["--max-new-tokens", "12", "--seed", "3"]


@pytest.fixture(scope="module")
def model():
    return edgetune_runtime.load(BUNDLE, threads=1)


def run(*options):
    return CliRunner().invoke(edgetune, ["run", str(BUNDLE), TEXT, "--threads", "1", *BRIEF, *options])


@pytest.mark.parametrize(
    "flags, options",
    [
        ([], {}),
        (["--presence-penalty", "2"], {"presence_penalty": 2.0}),
        (["--frequency-penalty", "1.5"], {"frequency_penalty": 1.5}),
        (["--presence-penalty", "-1", "--temperature", "0.9"], {"presence_penalty": -1.0, "temperature": 0.9}),
    ],
)
def test_a_flag_is_the_option_of_its_name(model, flags, options):
    expected = model.generate(TEXT, max_new_tokens=12, seed=3, **options).text
    assert run(*flags).output == expected + "\n"


def test_biases_are_by_token_id_and_may_ban(model):
    first, other = model.generate(TEXT, max_new_tokens=1).token_ids[0], 40
    banned = model.generate(TEXT, max_new_tokens=12, logit_bias={first: -math.inf, other: 1.5})
    assert first not in banned.token_ids
    found = run("--logit-bias", f"{first}=-inf", "--logit-bias", f"{other}=1.5")
    assert found.output == banned.text + "\n"
    wrong = run("--logit-bias", "cat=1")
    assert wrong.exit_code == 2 and "'cat=1' is not a token id" in wrong.output


def test_several_results_are_numbered(model):
    found = model.generate(TEXT, max_new_tokens=12, seed=3, temperature=1.2, n=3)
    texts = [found.text, *(x.text for x in found.others)]
    assert run("--n", "3", "--temperature", "1.2").output == "".join(f"[{i}] {x}\n" for i, x in enumerate(texts, 1))


def test_log_probabilities_are_a_line_for_each_token_with_the_likeliest_beside_it(model):
    found = model.generate(TEXT, max_new_tokens=12, seed=3, logprobs=2)
    text, *lines = run("--logprobs", "2").output.removeprefix(found.text).split("\n")[:-1]
    assert text == "" and len(lines) == len(found.logprobs)
    for line, token in zip(lines, found.logprobs, strict=True):
        assert line.split()[0] == f"{token.logprob:.2f}"
        for name, logprob in token.top.items():
            assert f"  {model.tokenizer.token(name)} {logprob:.2f}" in line


def test_a_conversation_takes_no_flags_that_a_turn_has_no_use_for():
    refuse_in_conversation({"n": None, "logprobs": None, "presence_penalty": 1.0})
    for name, value in (("n", 2), ("logprobs", 0)):
        with pytest.raises(UsageError, match=f"--{name} is for a TEXT"):
            refuse_in_conversation({"n": None, "logprobs": None, name: value})


def test_flags_of_generators_are_refused_where_a_bundle_classifies():
    encoder = BUNDLE.with_name("encoder-shared")
    for flags in (["--n", "2"], ["--logit-bias", "3=1"], ["--logprobs", "0"], ["--presence-penalty", "1"]):
        found = CliRunner().invoke(edgetune, ["run", str(encoder), TEXT, *flags])
        assert found.exit_code == 2 and f"{flags[0]} is for generators" in found.output
