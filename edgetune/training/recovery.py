"""A finished adapter, tuned a little further against the rounded weights that ship with it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from edgetune.adapter import Adapter, adapter_from, tuned_from
from edgetune.config import RECOVERY_RATE, TrainConfig, read_config
from edgetune.errors import ConfigError
from edgetune.metrics import better
from edgetune.models.base import Base
from edgetune.models.rounding import Weights, rounded
from edgetune.training.examples import text_limit
from edgetune.training.loop import fit
from edgetune.training.objective import measured
from edgetune.training.result import CONFIG
from edgetune.training.rows import rows_for, source_of
from edgetune.training.sets import examples_of


def recovered(base: Base, adapter: Adapter, folder: str | Path, weights: Weights, steps: int) -> Adapter:
    """The adapter after `steps` more on the rows of its run, whose configuration is in its folder.

    With evaluation rows it is the better of both there, never a worse one.

    Raises:
        ConfigError: the folder holds no run, or the run's rows are gone or have other labels.
    """
    path = Path(folder) / CONFIG
    if not path.exists():
        raise ConfigError(f"{path} is missing, so --recover knows no rows to go on with; leave --recover out")
    config = TrainConfig(**read_config(path))
    config = replace(config, steps=steps, learning_rate=config.peak_learning_rate * RECOVERY_RATE, patience=None)
    rows, held_out, labels = rows_for(config)
    if labels != tuple(adapter.labels):
        raise ConfigError(f"{config.data} has other labels than the adapter in {folder}; --recover needs its own rows")
    limit = text_limit(base, adapter.virtual_tokens, config.max_length)
    with rounded(base, weights):
        tuned = tuned_from(base, adapter)
        suffix = tuned.virtual().suffix_length
        read = partial(examples_of, base, limit=limit, words=tuned.words, suffix=suffix)
        measured_on = read(held_out[0]) if held_out else ()
        before = measured(tuned, measured_on) if measured_on else None
        outcome = fit(tuned, config, source_of(rows, read), measured_on)
        after = adapter_from(tuned, task=adapter.task, method=adapter.method, labels=adapter.labels)
    if before is not None and outcome.metrics is not None and not better(outcome.metrics, before):
        return adapter
    return replace(adapter, tensors=after.tensors, tuned_for=weights.described())
