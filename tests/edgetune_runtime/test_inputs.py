"""One text in, one row out; what is no text is refused and described."""

import numpy as np
import pytest
from edgetune_runtime.errors import InputError
from edgetune_runtime.inputs import DEFAULT, adapters_for, checked_token_ids, rows_from


def shape(texts, pairs=True):
    """Rows as plain values, and whether they are one text."""
    rows, is_one = rows_from(texts, pairs=pairs)
    return [x.tolist() if isinstance(x, np.ndarray) else x for x in rows], is_one


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ("a", (["a"], True)),
        ("", ([""], True)),
        (("a", "b"), ([("a", "b")], True)),
        ([1, 2], ([[1, 2]], True)),
        ((1, 2), ([[1, 2]], True)),
        (range(3), ([[0, 1, 2]], True)),
        (np.array([1, 2]), ([[1, 2]], True)),
        (np.array([], int), ([[]], True)),
        (["a"], (["a"], False)),
        (["a", "b"], (["a", "b"], False)),
        ([("a", "b"), "c", [1]], ([("a", "b"), "c", [1]], False)),
        ([[1, 2], [3]], ([[1, 2], [3]], False)),
        ([np.int64(1), 2], ([[1, 2]], True)),
        (np.array([[1, 2], [3, 4]]), ([[1, 2], [3, 4]], False)),
        ([[]], ([[]], False)),
        ([], ([], False)),
    ],
)
def test_texts_are_told_from_lists_of_texts(texts, expected):
    assert shape(texts) == expected


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (None, "NoneType"),
        (3, "int 3"),
        (b"bytes", "bytes"),
        ({"a": 1}, "dict"),
        ({"a", "b"}, "set"),
        (iter(["a"]), "iterator"),
        (["a", None], "text 1 is NoneType"),
        ([["a"]], "text 0 is a list of str"),
        ([1.5], "text 0 is float"),
        ([True, False], "text 0 is bool"),
        (np.array([1.5]), "float"),
        (("a", "b", "c"), "A pair is two strings"),
        (("a", 1), "int, str"),
    ],
)
def test_what_is_no_text_is_described(texts, words):
    with pytest.raises(InputError, match=words):
        rows_from(texts, pairs=True)


def test_only_a_classifier_takes_pairs():
    with pytest.raises(InputError, match="Only a classifier"):
        rows_from(("a", "b"), pairs=False)


def test_one_adapter_serves_all_texts_and_a_list_one_each():
    assert adapters_for("x", 2) == ["x", "x"]
    assert adapters_for(None, 1) == [None]
    assert adapters_for(["x", None, DEFAULT], 3) == ["x", None, DEFAULT]
    with pytest.raises(InputError, match="2 names for 3 texts"):
        adapters_for(["x", "y"], 3)
    with pytest.raises(InputError, match="adapter"):
        adapters_for(5, 1)
    with pytest.raises(InputError, match="adapter"):
        adapters_for([5], 1)


def test_token_ids_outside_the_vocabulary_are_named():
    assert checked_token_ids([0, 9], 10, "text 3").dtype == np.int64
    for ids, words in (([1, 10], "text 3: token id 10"), ([-1], "token id -1")):
        with pytest.raises(InputError, match=words):
            checked_token_ids(ids, 10, "text 3")
