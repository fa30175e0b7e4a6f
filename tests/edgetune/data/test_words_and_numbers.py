"""Rows of words with tags, and rows with numbers: read from every format, refused with their place."""

import json

import pytest
from datasets import ClassLabel, Dataset, Features, Sequence, Value

from edgetune.data.labels import tag_ids, tag_names
from edgetune.data.rows import ScoredText, TaggedWords, read_rows
from edgetune.errors import DataError


def lines(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_words_and_tags_come_as_lists_or_as_cells_with_spaces(tmp_path):
    expected = [TaggedWords(("in", "New", "York"), ("O", "B-city", "I-city")), TaggedWords(("now",), ("O",))]
    rows = [{"tokens": list(x.tokens), "tags": list(x.tags)} for x in expected]
    assert read_rows(lines(tmp_path / "a.jsonl", *rows), task="tag") == expected
    (tmp_path / "a.csv").write_text("tokens,tags\nin New York,O B-city I-city\nnow,O\n")
    assert read_rows(tmp_path / "a.csv", task="tag") == expected
    Dataset.from_list(rows).to_parquet(tmp_path / "a.parquet")
    assert read_rows(tmp_path / "a.parquet", task="tag") == expected


def test_tags_that_a_parquet_file_numbers_come_back_as_their_names(tmp_path):
    kinds = Features({"words": Sequence(Value("string")), "ner_tags": Sequence(ClassLabel(names=["O", "B-x"]))})
    Dataset.from_dict({"words": [["a", "b"]], "ner_tags": [[0, 1]]}, kinds).to_parquet(tmp_path / "a.parquet")
    (row,) = read_rows(tmp_path / "a.parquet", task="tag", columns={"tokens": "words", "tags": "ner_tags"})
    assert row == TaggedWords(("a", "b"), ("O", "B-x"))


@pytest.mark.parametrize("row, told", [
    ({"tokens": ["a", "b"], "tags": ["O"]}, "2 tokens and 1 tags. Give every word one tag"),
    ({"tokens": [], "tags": []}, '"tokens" has no words'),
    ({"tokens": ["a b"], "tags": ["O"]}, 'word 1, is "a b": white space separates words'),
    ({"tokens": ["a", None], "tags": ["O", "O"]}, "word 2, is null, not a string"),
    ({"tokens": {"a": 1}, "tags": ["O"]}, "is an object, not a list of words"),
    ({"tokens": ["a"]}, 'no "tags"'),
    ({"tokens": ["a", " "], "tags": ["O", "O"]}, "word 2, is blank"),
])  # fmt: skip
def test_a_row_of_words_that_cannot_be_used_is_named(tmp_path, row, told):
    path = lines(tmp_path / "a.jsonl", {"tokens": ["a"], "tags": ["O"]}, row)
    with pytest.raises(DataError) as caught:
        read_rows(path, task="tag")
    assert told in str(caught.value) and f"{path}:2" in str(caught.value)


def test_tags_are_numbered_and_an_unknown_one_is_named():
    rows = [TaggedWords(("a", "b"), ("O", "B-x")), TaggedWords(("c",), ("I-x",), line=7)]
    assert tag_names(rows, "rows") == ["B-x", "I-x", "O"] and tag_ids(rows, ["B-x", "I-x", "O"], "r") == [(2, 0), (1,)]
    with pytest.raises(DataError, match=r'dev:7: the tag "I-x" is not among the 2 known \(did you mean "B-x"\?\)'):
        tag_ids(rows, ["B-x", "O"], "dev")
    with pytest.raises(DataError, match='has only the tag "O"; to tag takes at least two'):
        tag_names([TaggedWords(("a",), ("O",))], "rows")


def test_scores_are_numbers_or_the_text_of_one(tmp_path):
    path = lines(tmp_path / "a.jsonl", {"text": "a", "score": 3}, {"text": "b", "score": "-2.5e0", "text_pair": "c"})
    assert read_rows(path, task="regress") == [ScoredText("a", 3.0), ScoredText("b", -2.5, "c")]
    (tmp_path / "a.tsv").write_text("text\tstars\nfine\t4.5\n")
    assert read_rows(tmp_path / "a.tsv", task="regress", columns={"score": "stars"}) == [ScoredText("fine", 4.5)]


@pytest.mark.parametrize("score, told", [
    ("high", '"high", which is no finite number'), (float("inf"), "no finite number"), (True, "true or false, not a"),
    (None, "is null, not a number"), ([1], "is a list, not a number"),
])  # fmt: skip
def test_a_score_that_is_no_number_is_named(tmp_path, score, told):
    with pytest.raises(DataError, match=told):
        read_rows(lines(tmp_path / "a.jsonl", {"text": "a", "score": score}), task="regress")
