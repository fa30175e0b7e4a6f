"""BANKING77 and SNIPS as their authors publish them, as rows of text and label."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

Rows = list[dict[str, str]]


def banking77(folder: Path) -> tuple[Rows, Rows]:
    """77 intents of a bank's customers (PolyAI, CC BY 4.0)."""

    def rows(part: str) -> Rows:
        with (folder / f"{part}.csv").open(encoding="utf-8", newline="") as file:
            return [{"text": row["text"], "label": row["category"]} for row in csv.DictReader(file)]

    return rows("train"), rows("test")


def snips(folder: Path) -> tuple[Rows, Rows]:
    """7 intents of an assistant's users (Sonos, CC0). A file is one intent's; queries are cut at their slots."""

    def rows(pattern: str) -> Rows:
        found = []
        for path in sorted(folder.glob(pattern)):
            encoding = "latin-1" if path.name == "train_PlayMusic_full.json" else "utf-8"
            ((intent, queries),) = json.loads(path.read_text(encoding)).items()
            texts = ("".join(part["text"] for part in query["data"]).strip() for query in queries)
            found += [{"text": text, "label": intent} for text in texts]
        return found

    return rows("train_*_full.json"), rows("validate_*.json")


PUBLISHED: dict[str, Callable[[Path], tuple[Rows, Rows]]] = {"banking77": banking77, "snips": snips}
"""Rows to train on and to evaluate on, of the data set's folder."""


def written(rows: Rows, path: Path) -> Path:
    """The rows as JSON Lines; a file that holds them already is left as it is."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if not path.exists() or path.read_text("utf-8") != text:
        path.write_text(text, "utf-8")
    return path
