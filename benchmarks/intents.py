"""Intent data sets as rows of text and label: BANKING77 and SNIPS, of the shared folder."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from places import SHARED, shared

TextAndLabel = tuple[str, str]
NAMES = ("banking77", "snips")


def intents(name: str, root: Path = SHARED) -> tuple[list[TextAndLabel], list[TextAndLabel]]:
    """Training and test rows."""
    return {"banking77": banking77, "snips": snips}[name](root)


def banking77(root: Path) -> tuple[list[TextAndLabel], list[TextAndLabel]]:
    def rows(part: str) -> list[TextAndLabel]:
        with shared(f"data/banking77/{part}.csv", root).open(encoding="utf-8", newline="") as file:
            return [(row["text"], row["category"]) for row in csv.DictReader(file)]

    return rows("train"), rows("test")


def snips(root: Path) -> tuple[list[TextAndLabel], list[TextAndLabel]]:
    """Each file holds one intent: its queries, cut where slots begin and end. One of them is in Latin-1."""

    def rows(pattern: str) -> list[TextAndLabel]:
        found = []
        for path in sorted(shared("data/snips", root).glob(pattern)):
            encoding = "latin-1" if path.name == "train_PlayMusic_full.json" else "utf-8"
            ((intent, queries),) = json.loads(path.read_text(encoding)).items()
            found += [("".join(part["text"] for part in query["data"]).strip(), intent) for query in queries]
        return found

    return rows("train_*_full.json"), rows("validate_*.json")


def written(rows: list[TextAndLabel], path: Path) -> Path:
    """The rows as JSON Lines, which `edgetune train` reads."""
    path.write_text("".join(json.dumps({"text": t, "label": x}) + "\n" for t, x in rows), "utf-8")
    return path
