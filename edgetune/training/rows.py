"""The rows of a run, in memory or as a stream, and what the loop draws from."""

from __future__ import annotations

from collections.abc import Callable

from edgetune.config import BUFFER_ROWS, TrainConfig
from edgetune.data.shards import is_stream
from edgetune.data.stream import RowStream
from edgetune.training.examples import Example
from edgetune.training.sets import Rows, held_out_of, read_sets
from edgetune.training.source import Held, Source
from edgetune.training.streamed import Streamed, StreamedRows
from edgetune.training.survey import survey_of


def rows_for(config: TrainConfig) -> tuple[Rows | StreamedRows, list[Rows], tuple[str, ...]]:
    """Training rows, held-out rows where there are any (in memory in any case), and the names of labels or tags.

    Raises DataError for what cannot be used, of a stream as far as it is read in advance.
    """
    if config.shuffle_buffer is None and not is_stream(config.data):
        sets, names = read_sets(config)
        return sets[0], sets[1:], names
    stream = RowStream(config.data, config.task, config.columns)
    survey = survey_of(stream, config.label_list)
    rows = StreamedRows(stream, survey, config.shuffle_buffer or BUFFER_ROWS)
    return rows, held_out_of(config, survey.names), survey.names


def source_of(rows: Rows | StreamedRows, read: Callable[[Rows], list[Example]]) -> Source:
    """What `fit` draws from; `read` turns rows into what the base reads."""
    return Streamed(rows, read) if isinstance(rows, StreamedRows) else Held(read(rows))
