"""A batch's rows in parts that go through the base one by one: the gradient is that of the whole, in less memory."""

from __future__ import annotations

from collections.abc import Sequence

from edgetune.training.examples import Example

TOKENS = {"cpu": 512}
"""Tokens of a part, padding among them, by the kind of device: as few as leave a processor's matrix products at their
speed. A GPU takes whole batches."""


def parts(examples: Sequence[Example], device: str | None) -> list[Sequence[Example]]:
    """Rows in order, at least one a part, as many in each as fit at the width of the widest; without a device all."""
    width = max(len(e.input_ids) for e in examples) + max(len(e.decoder_ids) for e in examples)
    rows = max(1, TOKENS[device] // width) if device in TOKENS else len(examples)
    return [examples[start : start + rows] for start in range(0, len(examples), rows)]
