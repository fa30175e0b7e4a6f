"""The recommendation in words: what to take, what decided, what it costs, and what to doubt."""

from __future__ import annotations

from edgetune.comparison.choice import SAME_SIZE, Choice
from edgetune.comparison.figures import Comparison, VariantFigures
from edgetune.reports.page.wording import joined, ms_told, quality_name, quality_told, seconds_told
from edgetune.reports.sizes import sized

MOST_NAMED = 2
"""Of those that are as good; more of them are counted, the table has their figures."""


def recommendation(comparison: Comparison, choice: Choice) -> str:
    """One paragraph."""
    parts = [decision(comparison, choice), cheaper(comparison, choice), faster(comparison, choice)]
    parts += doubts(comparison, choice)
    return " ".join(part for part in parts if part)


def decision(comparison: Comparison, choice: Choice) -> str:
    chosen, best = comparison.named(choice.name), comparison.named(choice.best)
    quality, own = quality_name(comparison), told(comparison, chosen)
    if choice.reason == "only":
        return f"{chosen.name} is the only variant here: {quality} {own} in {sized(chosen.size_bytes)} on the device."
    if choice.reason == "better":
        return f"Take {chosen.name}. {better_told(comparison, chosen)}"
    if choice.name == choice.best:
        others = [comparison.named(name) for name in choice.equals[1:]]
        listed = joined([f"{other.name} ({told(comparison, other)})" for other in others[:MOST_NAMED]])
        if len(others) > MOST_NAMED:
            listed = f"{len(others)} others"
        near = "is within one spread of it" if len(others) == 1 else "are within one spread of it"
        start = f"Its {quality} is the best, {own}; {listed} {near}, and of these"
    else:
        start = (
            f"Its {quality} of {own} is within one spread of the best, {told(comparison, best)} of {best.name}; "
            "of those that are as good,"
        )
    return f"Take {chosen.name}. {start} {ground(comparison, choice)}."


def ground(comparison: Comparison, choice: Choice) -> str:
    """What decided between equals, with the figures of the choice and of the next of them."""
    chosen = comparison.named(choice.name)
    others = [comparison.named(name) for name in choice.equals if name != choice.name]
    if choice.reason == "smaller":
        least = min(others, key=lambda other: other.size_bytes)
        sizes = f"{sized(chosen.size_bytes)}, then {least.name} with {sized(least.size_bytes)}"
        return f"it is the smallest on the device: {sizes}"
    if choice.reason == "faster":
        least = min(others, key=lambda other: other.latency.first_ms)
        return (
            f"files being as large, it answers soonest: {latency_told(chosen)}, and {least.name} {latency_told(least)}"
        )
    if choice.reason == "fewer parameters":
        least = min(others, key=lambda other: other.parameters)
        return (
            "files and latency being alike, it learns the fewest parameters: "
            f"{chosen.parameters:,}, and {least.name} {least.parameters:,}"
        )
    return f"all else being alike, it trains in the least time, {seconds_told(chosen.train_seconds)} a run"


def better_told(comparison: Comparison, chosen: VariantFigures) -> str:
    """The choice is alone at the top; the next best is what it is weighed against."""
    gain = comparison.measure.gain
    others = [other for other in comparison.variants if other.name != chosen.name]
    second = min(others, key=lambda other: gain(comparison.quality(chosen).mean, comparison.quality(other).mean))
    quality = quality_name(comparison)
    if len(comparison.seeds) > 1:
        ahead = f"Its {quality}, {told(comparison, chosen)}, is ahead of every other by more than one spread"
    else:
        ahead = f"Its {quality}, {told(comparison, chosen)}, is the best"
    own, other = sized(chosen.size_bytes), sized(second.size_bytes)
    cost = f"Both take {own} on the device" if own == other else f"It takes {own} on the device instead of {other}"
    return f"{ahead}; the next is {second.name} with {told(comparison, second)}. {cost}."


def cheaper(comparison: Comparison, choice: Choice) -> str:
    """What the least bytes would cost in quality."""
    least = min(comparison.variants, key=lambda variant: variant.size_bytes)
    if least.name in choice.equals or least.size_bytes * SAME_SIZE >= comparison.named(choice.name).size_bytes:
        return ""
    return f"The smallest of all, {least.name}, takes {sized(least.size_bytes)} and reaches {told(comparison, least)}."


def faster(comparison: Comparison, choice: Choice) -> str:
    if choice.faster is None:
        return ""
    chosen, faster = comparison.named(choice.name), comparison.named(choice.faster)
    return (
        f"Where milliseconds count for more than kilobytes, {faster.name} is as good and answers sooner: "
        f"{latency_told(faster)} instead of {latency_told(chosen)}."
    )


def doubts(comparison: Comparison, choice: Choice) -> list[str]:
    found = []
    if choice.over_base is False and comparison.base:
        found.append(
            f"But it does not beat the base alone, whose loss is {comparison.base.metrics['loss']:.3f}: "
            "train for more steps, or at another learning rate, before shipping any of them."
        )
    if len(comparison.seeds) == 1:
        found.append("One seed shows no spread, so a small difference may be chance; three seeds would tell.")
    if choice.still_learning:
        names = list(choice.still_learning)
        every = len(names) == len(comparison.variants) and len(names) > 1
        found.append(
            f"The held-out loss of {'every variant' if every else joined(names)} was still falling when the steps "
            f"ended: more steps may change the {'order' if len(comparison.variants) > 1 else 'figures'}."
        )
    return found


def told(comparison: Comparison, variant: VariantFigures) -> str:
    return quality_told(comparison.measure.name, comparison.quality(variant))


def latency_told(variant: VariantFigures) -> str:
    latency = variant.latency
    if latency.per_token_ms is None:
        return f"{ms_told(latency.first_ms)} a text"
    return f"{ms_told(latency.first_ms)} to the first token and {ms_told(latency.per_token_ms)} for each later one"
