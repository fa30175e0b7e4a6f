"""A stream has the rows that reading into memory has, mixes them without losing one, and goes on from any place."""

import gzip
import json
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetune.data.rows import read_rows
from edgetune.data.shards import is_stream
from edgetune.data.stream import Place, RowStream, ShuffledStream
from edgetune.errors import DataError

ROWS = [{"text": f"text {i}", "label": "ab"[i % 2], "other": i} for i in range(23)]
SIZES = (9, 0, 1, 13)


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """The rows in four files, one of them without any, another with blank lines and packed."""
    folder, start = tmp_path_factory.mktemp("shards"), 0
    for number, size in enumerate(SIZES):
        text = lines(ROWS[start : start + size])
        if number == 3:
            with gzip.open(folder / "part-3.jsonl.gz", "wt", encoding="utf-8") as file:
                file.write("\n" + text.replace("\n", "\r\n\n", 2))
        else:
            (folder / f"part-{number}.jsonl").write_text(text, "utf-8")
        start += size
    return str(folder / "part-*")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "rows.jsonl"
    path.write_text(lines(ROWS), "utf-8")
    return path


def test_the_rows_of_shards_are_those_of_one_file_in_memory(shards, whole):
    assert is_stream(shards) and not is_stream(str(whole))
    assert list(RowStream(shards, "classify")) == read_rows(whole, task="classify")
    assert list(RowStream(str(whole), "classify")) == read_rows(whole, task="classify")


@pytest.fixture(scope="module")
def parquet(tmp_path_factory):
    """Two files as the hub has them, the labels stored as numbers."""
    from datasets import ClassLabel, Dataset, Features, Value

    folder = tmp_path_factory.mktemp("hub")
    features = Features({"text": Value("string"), "label": ClassLabel(names=["a", "b"])})
    for number, part in enumerate((ROWS[:10], ROWS[10:])):
        columns = {"text": [row["text"] for row in part], "label": ["ab".index(row["label"]) for row in part]}
        Dataset.from_dict(columns, features=features).to_parquet(folder / f"train-0000{number}-of-00002.parquet")
    return folder


def test_columns_of_parquet_and_of_a_data_set_as_the_hub_has_it_come_with_names_of_classes(parquet, whole):
    expected = read_rows(whole, task="classify")
    assert list(RowStream(f"{parquet}/*.parquet", "classify")) == expected
    stream = RowStream(f"hub:{parquet}", "classify")
    assert len(stream.shards) == 2 and list(stream) == expected
    assert list(RowStream(f"hub:{parquet}:train", "classify")) == expected


def texts(drawn):
    return [one.row.text for one in drawn]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 9), size=st.integers(1, 40), count=st.integers(1, 30))
def test_every_row_is_drawn_once_before_any_comes_again(shards, seed, size, count):
    stream, seen = ShuffledStream(RowStream(shards, "classify"), seed, size), []
    while len(seen) < 2 * len(ROWS):
        drawn = stream.draw(count)
        assert 0 < len(drawn) <= count
        seen += texts(drawn)
    for epoch in (seen[: len(ROWS)], seen[len(ROWS) : 2 * len(ROWS)]):
        assert sorted(epoch) == sorted(row["text"] for row in ROWS)


def test_epochs_and_seeds_differ_and_a_seed_repeats(shards):
    def order(seed, skip=0):
        stream = ShuffledStream(RowStream(shards, "classify"), seed, 8)
        drawn = iter(lambda: stream.draw(len(ROWS)), None)
        return texts(next(islice(drawn, skip, None)))

    assert order(0) == order(0)
    assert order(0) != order(1) and order(0) != order(0, skip=1) and order(0) != [row["text"] for row in ROWS]


@settings(max_examples=25, deadline=None)
@given(size=st.integers(1, 30), count=st.integers(1, 9), drawn=st.integers(0, 20))
def test_a_stream_goes_on_from_a_place_that_was_written_down(shards, size, count, drawn):
    first = ShuffledStream(RowStream(shards, "classify"), 3, size)
    for _ in range(drawn):
        first.draw(count)
    place = Place.of(json.loads(json.dumps(first.place.plain())))
    second = ShuffledStream(RowStream(shards, "classify"), 3, size, place)
    for _ in range(6):
        assert first.draw(count) == second.draw(count)


def test_tuples_and_pairs_of_a_place_come_back_as_they_were(tmp_path):
    for task, row in (
        ("tag", {"tokens": ["a", "b"], "tags": ["X", "O"]}),
        ("generate", {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}),
        ("generate", {"prompt": "a", "completion": "b"}),
        ("regress", {"text": "a", "text_pair": "b", "score": 0.5}),
    ):
        path = tmp_path / "rows.jsonl"
        path.write_text(lines([row, row]), "utf-8")
        stream = ShuffledStream(RowStream(str(path), task), 0, 5)
        stream.draw(1)
        assert len(stream.place.buffer) == 1
        assert Place.of(json.loads(json.dumps(stream.place.plain()))) == stream.place


def test_what_cannot_be_read_is_named_with_its_file_and_line(tmp_path):
    (tmp_path / "a.jsonl").write_text(lines(ROWS[:2]), "utf-8")
    (tmp_path / "b.jsonl").write_text('\n{"text": "x"}\n', "utf-8")
    with pytest.raises(DataError, match=r"b\.jsonl:2: no \"label\""):
        list(RowStream(str(tmp_path / "*.jsonl"), "classify"))
    (tmp_path / "b.jsonl").write_bytes(b'{"text": "x", "label": "a"}\n{"text": "\xff"}\n')
    with pytest.raises(DataError, match=r"b\.jsonl:2: byte 0xFF"):
        list(RowStream(str(tmp_path / "*.jsonl"), "classify"))
    with pytest.raises(DataError, match="no file is named like"):
        RowStream(str(tmp_path / "*.parquet"), "classify")
    with pytest.raises(DataError, match="no such file"):
        RowStream(str(tmp_path / "c.jsonl"), "classify")
    (tmp_path / "c.csv").write_text("text,label\nx,a\n", "utf-8")
    with pytest.raises(DataError, match=r"a stream is read from \.jsonl.*leave --shuffle-buffer out"):
        RowStream(str(tmp_path / "c.csv"), "classify")
    with pytest.raises(DataError, match='no column "topic" for --columns label=topic'):
        RowStream(str(tmp_path / "a.jsonl"), "classify", {"label": "topic"})
    (tmp_path / "d.jsonl").write_text("", "utf-8")
    with pytest.raises(DataError, match="no rows"):
        RowStream(str(tmp_path / "d.jsonl"), "classify")
    with pytest.raises(DataError, match="Bad split: nowhere"):
        RowStream(f"hub:{tmp_path}:nowhere", "classify")


def test_a_stream_is_known_by_its_files(tmp_path):
    (tmp_path / "a.jsonl").write_text(lines(ROWS), "utf-8")
    before = RowStream(str(tmp_path / "a.jsonl"), "classify").identity
    assert RowStream(str(tmp_path / "*.jsonl"), "classify").identity == before
    (tmp_path / "a.jsonl").write_text(lines(ROWS[::-1]), "utf-8")
    assert RowStream(str(tmp_path / "a.jsonl"), "classify").identity != before
