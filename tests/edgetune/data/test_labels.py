"""Labels get the same ids from the same data, and an unknown one is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetune.data.labels import label_ids, label_names
from edgetune.data.rows import LabelledText
from edgetune.errors import DataError


def rows_of(*labels: str) -> list[LabelledText]:
    return [LabelledText("text", label, line=line) for line, label in enumerate(labels, start=2)]


def test_names_are_sorted_and_distinct():
    assert label_names(rows_of("b", "a", "B", "b"), "train.csv") == ["B", "a", "b"]


@given(st.lists(st.text(), min_size=2, unique=True).flatmap(lambda names: st.permutations(names + names[:1])))
def test_ids_point_back_to_the_labels(labels):
    rows = rows_of(*labels)
    names = label_names(rows, "train.csv")
    assert [names[index] for index in label_ids(rows, names, "a.csv")] == labels


@pytest.mark.parametrize("labels, what", [(("a", "a"), 'only the label "a"'), ((), "no label")])
def test_fewer_than_two_labels_are_an_error(labels, what):
    with pytest.raises(DataError, match=f"{what}; to classify takes at least two"):
        label_names(rows_of(*labels), "train.csv")


def test_an_unknown_label_is_located_and_the_nearest_suggested():
    names = [f"topic_{number}" for number in range(13)]
    with pytest.raises(DataError) as caught:
        label_ids(rows_of("topic_1", "topc_12"), names, "data/dev.csv")
    message = str(caught.value)
    assert message.startswith(
        'data/dev.csv:3: the label "topc_12" is not among the 13 known (did you mean "topic_12"?)'
    )
    assert '"topic_0", ' in message and '"topic_9" and 3 more' in message
    assert "\n" not in message


def test_an_unknown_label_that_is_near_none_gets_no_suggestion():
    with pytest.raises(DataError) as caught:
        label_ids(rows_of("zzz"), ["a", "b"], "dev.parquet")
    assert str(caught.value).startswith('dev.parquet, row 2: the label "zzz" is not among the 2 known: "a", "b".')
