"""docs/families.md, from the lines that benchmarks/families.py leaves."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

HEAD = """# Families

What `python benchmarks/families.py` found with transformers {version}: of every `model_type` that reads text and whose
attention goes through transformers' interface, or is brought there (`edgetune/models/outside.py`), it makes a model of
two layers with random weights, exports it with a random prefix and a random prompt, lets the export verify itself and
compares our attention with the family's own. Of {count} families **{works} work**, {refused} are refused with a
reason, {fails} fail, {undone} were not finished in the time, and {unmade} could not be made small or called with text
alone.

A text tower without an output head (CLIP's, or the text half of a family that reads images as well) is tried as an
encoder with a classification head. A family that works here can still be refused for a checkpoint with other settings.

## Works

Differences are the largest of any logit from torch's, relative to the largest logit where that is above 1, with the
text behind a prompt of 3 and a prefix of 4 virtual tokens: whole texts, batches of mixed lengths, steps of one token.

| family | kind | prompt | prefix |
| --- | --- | --- | --- |
{rows}
"""

SECTIONS = (
    ("refused", "Refused", "What edgetune says instead of making a bundle."),
    ("fails", "Fails", "Issues of ours: no bundle is made, and what is said is the first line of an error."),
    ("not done", "Not finished", "The time ran out on a busy machine; what would have come of it is not known."),
    ("not made", "Not tried", "What transformers said to our tiny configuration or to a text without anything else."),
)


def table(lines: list[dict[str, Any]]) -> str:
    """The whole document."""
    by_status: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in sorted(lines, key=lambda x: x["model_type"]):
        by_status[line["status"]].append(line)
    rows = [
        f"| {x['model_type']} | {x['kind']} | {shown(x['prompt'])} | {shown(x['prefix'])} |" for x in by_status["works"]
    ]
    counts = {status: len(by_status[status]) for status in ("works", "refused", "fails")}
    text = HEAD.format(
        version=lines[0]["transformers"], count=len(lines), unmade=len(by_status["not made"]),
        undone=len(by_status["not done"]), rows="\n".join(rows),
        **counts,
    )  # fmt: skip
    for status, title, meaning in SECTIONS:
        if by_status[status]:
            text += f"\n## {title}\n\n{meaning}\n\n| why | families |\n| --- | --- |\n{reasons(by_status[status])}\n"
    return text


def shown(difference: float | None) -> str:
    return "refused" if difference is None else f"{difference:.0e}"


def reasons(lines: list[dict[str, Any]]) -> str:
    """A row a message, with the families that it was said of."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in lines:
        name = line["model_type"]
        message = line["message"].replace(repr(f"tiny {name}"), "it").replace(repr(name), "…")
        found[message.replace("|", "\\|").replace("<", "\\<")].append(name)
    return "\n".join(f"| {why[:300]} | {', '.join(names)} |" for why, names in found.items())
