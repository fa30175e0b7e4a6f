"""How `edgetune run` has a generator write: flags for what shapes the tokens, several results, log-probabilities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


class Bias(click.ParamType):
    """A token id and what is added to its logit."""

    name = "ID=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, float]:
        if isinstance(value, tuple):
            return value
        token, _, number = value.partition("=")
        try:
            return int(token), float(number)
        except ValueError:
            self.fail(f"{value!r} is not a token id, =, and a number, e.g. 42=-2.5, or 42=-inf to ban it", param, ctx)


def writing_options(function: F) -> F:
    """The flags; `logit_bias` arrives as pairs, which `asked` makes a table."""
    for option in (
        click.option("--logprobs", type=click.IntRange(0), metavar="COUNT",
                     help="Generate: each token's log-probability, beside those of the COUNT likeliest."),
        click.option("--n", type=click.IntRange(1), help="Generate: results of the text."),
        click.option("--logit-bias", multiple=True, type=Bias(),
                     help="Generate: add VALUE to the logit of token ID; -inf bans it."),
        click.option("--frequency-penalty", type=float,
                     help="Generate: taken off a new token's logit as often as it came."),
        click.option("--presence-penalty", type=float, help="Generate: taken off a new token's logit once."),
    ):  # fmt: skip
        function = option(function)
    return function


def asked(options: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that were given, as `generate` takes them."""
    given = {name: value for name, value in options.items() if value not in (None, ())}
    if "logit_bias" in given:
        given["logit_bias"] = dict(given["logit_bias"])
    return given


def refuse_in_conversation(options: Mapping[str, Any]) -> None:
    """A turn has one answer, which is shown as it comes; raises UsageError for flags of several or of numbers."""
    for name in ("n", "logprobs"):
        if options[name] is not None:
            raise click.UsageError(f"--{name} is for a TEXT, a pipe or --plain, not for conversations")


def written(model: Any, text: str, chosen: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Prints what the model writes: as it comes; several results, and log-probabilities, when all is there."""
    given = asked(options)
    if given.get("n", 1) == 1 and "logprobs" not in given:
        for chunk in model.stream(text, **chosen, **given):
            click.echo(chunk.text, nl=False)
        click.echo()
        return
    found = model.generate(text, **chosen, **given)
    results = [found, *found.others]
    for number, result in enumerate(results, 1):
        click.echo(f"[{number}] {result.text}" if len(results) > 1 else result.text)
        for token in result.logprobs or ():
            click.echo(line_of(token, model.target_tokenizer.token))


def line_of(found: Any, name_of: Callable[[int], str]) -> str:
    """`  -0.12  cat    cat -0.12  dog -2.30`: a token, and the likeliest of its place."""
    likeliest = "".join(f"  {name_of(token)} {logprob:.2f}" for token, logprob in found.top.items())
    return f"{found.logprob:>8.2f}  {name_of(found.token_id):<12}{likeliest}".rstrip()
