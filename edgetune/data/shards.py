"""The parts of a data set that is read as a stream: files of one pattern, or what a data set of the hub consists of."""

from __future__ import annotations

import glob
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetune.data.loading import class_names, named_classes, silent_datasets
from edgetune.data.records import Record, json_record
from edgetune.data.wording import quoted
from edgetune.errors import DataError

HUB = "hub:"
"""Before a data set's name there: `hub:stanfordnlp/imdb`, `hub:nyu-mll/glue:train:sst2`."""
LINES, PARQUET = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz"), (".parquet",)
BLOCK = 1000
"""Records that `datasets` hands over at once."""
ENDS = 1 << 20
"""Bytes at either end of a file that its identity is made of, beside its size."""


@dataclass(frozen=True)
class Shard:
    """One part, which is read from its beginning.

    Attributes:
        path: as errors name it.
        lines: its records are lines of JSON; otherwise rows of columns.
        source: the file's path, or a data set of the hub as `datasets` streams it.
        number: of the part among those of a data set of the hub.
    """

    path: Path
    lines: bool
    source: Any
    number: int = 0

    def records(self, done: int = 0) -> Iterator[tuple[int, Record]]:
        """Records behind the first `done` lines or rows, each with how many have been read with it.

        Raises DataError where the shard cannot be read, or holds something else than records.
        """
        read = 0
        with silent_datasets(self.path):
            stream = self.opened()
            classes = class_names(stream.features or {})
            for block in stream.with_format("arrow").iter(BLOCK):
                if read + block.num_rows <= done:
                    read += block.num_rows
                    continue
                for cells in block.slice(max(0, done - read)).to_pylist():
                    read = max(read, done) + 1
                    yield from self.record(read, cells, classes)

    def record(self, number: int, cells: dict[str, Any], classes: dict[str, Any]) -> Iterator[tuple[int, Record]]:
        if not self.lines:
            yield number, Record(self.path, number, named_classes(cells, classes, self.path, number))
        elif not cells["text"].isspace():
            yield number, json_record(self.path, number, cells["text"])

    def opened(self) -> Any:
        from datasets import load_dataset

        if not isinstance(self.source, str):
            return self.source.shard(num_shards=self.source.num_shards, index=self.number)
        files: dict[str, Any] = {"data_files": [glob.escape(self.source)], "split": "train", "streaming": True}
        if self.lines:
            return load_dataset("text", keep_linebreaks=True, encoding="utf-8-sig", **files)
        return load_dataset("parquet", **files)


def is_stream(data: str) -> bool:
    """A pattern of many files, or a data set of the hub: neither is read into memory."""
    return data.startswith(HUB) or (glob.has_magic(data) and not Path(data).exists())


def shards_of(data: str, split: str = "train") -> list[Shard]:
    """At least one, in the order of their names.

    Raises DataError where nothing is there, or files cannot be read as a stream.
    """
    if data.startswith(HUB):
        return hub_shards(data, split)
    paths = sorted(map(Path, glob.glob(data, recursive=True))) if is_stream(data) else [Path(data)]
    if not paths:
        raise DataError(f"no file is named like {quoted(data)}")
    for path in paths:
        if not path.is_file():
            raise DataError(f"{path}: a folder, not a file" if path.is_dir() else f"no such file: {path.absolute()}")
        if not path.name.lower().endswith((*LINES, *PARQUET)):
            known = ", ".join((*LINES, *PARQUET))
            raise DataError(f"{path}: a stream is read from {known}. Convert the file, or leave --shuffle-buffer out")
    return [Shard(path, not path.name.lower().endswith(PARQUET), str(path)) for path in paths if path.stat().st_size]


def hub_shards(data: str, split: str) -> list[Shard]:
    """Of `hub:NAME[:SPLIT[:CONFIGURATION]]`; NAME may be a folder that is made like a data set of the hub."""
    name, *rest = data[len(HUB) :].split(":")
    asked, configuration = [*rest, "", ""][:2]
    with silent_datasets(Path(data)):
        from datasets import load_dataset

        stream = load_dataset(name, configuration or None, split=asked or split, streaming=True)
        return [Shard(Path(data), False, stream, number) for number in range(stream.num_shards)]


def identity(shards: list[Shard]) -> str:
    """A hash of the shards without reading all of them: names, sizes and both ends of files; of the hub the name."""
    found = hashlib.sha256()
    for shard in shards:
        if not isinstance(shard.source, str):
            found.update(json.dumps([str(shard.path), shard.number]).encode())
            continue
        size = shard.path.stat().st_size
        found.update(json.dumps([shard.path.name, size]).encode())
        with shard.path.open("rb") as file:
            found.update(file.read(ENDS))
            file.seek(max(0, size - ENDS))
            found.update(file.read(ENDS))
    return f"sha256:{found.hexdigest()}"
