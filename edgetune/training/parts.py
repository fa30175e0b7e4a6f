"""A batch in parts that fit a processor's caches: the gradient is that of the whole, in less memory and less time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from torch import Tensor

from edgetune.training.batches import Batch

TOKENS = {"cpu": 512}
"""Tokens of a part, padding among them, by the kind of device: enough rows for a matrix product to be at its speed,
few enough for what stands between two products to stay in the cache. A GPU takes whole batches."""


def parts(batch: Batch, device: str) -> Iterator[Batch]:
    """The batch's rows in order, at least one a part, each part as wide as its own longest row."""
    width = batch.input_ids.shape[1] + (0 if batch.decoder_ids is None else batch.decoder_ids.shape[1])
    rows = max(1, TOKENS.get(device, batch.rows * width) // width)
    starts = range(0, batch.rows, rows)
    if len(starts) == 1:
        return iter((batch,))
    return (rows_of(batch, start, min(batch.rows, start + rows)) for start in starts)


def rows_of(batch: Batch, start: int, stop: int) -> Batch:
    mask = batch.mask[start:stop]
    length = int(mask.sum(1).max())
    cut = lambda x: None if x is None else x[start:stop, :length]  # noqa: E731
    part = replace(
        batch, input_ids=batch.input_ids[start:stop, :length], mask=mask[:, :length], tags=cut(batch.tags),
        labels=None if batch.labels is None else batch.labels[start:stop],
        values=None if batch.values is None else batch.values[start:stop],
    )  # fmt: skip
    return part if batch.predicts is None else predicting(part, batch, start, stop)


def predicting(part: Batch, batch: Batch, start: int, stop: int) -> Batch:
    """With the targets of its rows, which lie row by row in one line."""
    assert batch.predicts is not None and batch.targets is not None
    before, after = (int(batch.predicts[:row].sum()) for row in (start, stop))
    predicts, decoder_ids = batch.predicts[start:stop], batch.decoder_ids
    length = part.input_ids.shape[1]
    if decoder_ids is not None:
        length = written(predicts)
        decoder_ids = decoder_ids[start:stop, :length]
    return replace(part, predicts=predicts[:, :length], targets=batch.targets[before:after], decoder_ids=decoder_ids)


def written(predicts: Tensor) -> int:
    """Of an encoder–decoder's rows: up to the last position that predicts."""
    return int(predicts.any(0).nonzero().max()) + 1
