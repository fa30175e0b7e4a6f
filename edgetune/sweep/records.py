"""How trials ended, a file each: what is written down is not tried again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from edgetune.output import write_atomic

RECORD = "trial.json"
End = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True)
class Record:
    """A trial that has ended.

    Attributes:
        change: its configuration, by option.
        value: what it is ranked by: the mean over its seeds, of a pruned one the evaluation that ended it.
        step: of that evaluation; of a complete one the steps of a run.
        steps: optimiser steps that it took, all seeds together.
        why: what made it fail.
        elapsed_seconds: of the sweep when it ended, interruptions left out.
    """

    number: int
    end: End
    change: Mapping[str, Any]
    value: float | None
    step: int
    steps: int
    elapsed_seconds: float
    why: str = ""


def write_record(workplace: Path, record: Record) -> None:
    folder = workplace / "trials" / f"{record.number:04}"
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / RECORD, json.dumps(asdict(record), ensure_ascii=False) + "\n")


def read_records(workplace: Path) -> dict[int, Record]:
    """By number, in their order."""
    found = [Record(**json.loads(path.read_text("utf-8"))) for path in workplace.glob(f"trials/*/{RECORD}")]
    return {record.number: record for record in sorted(found, key=lambda record: record.number)}
