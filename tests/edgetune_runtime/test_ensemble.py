"""Several adapters answer together: by hand, and against separate calls of each member."""

from types import SimpleNamespace

import edgetune_runtime
import numpy as np
import pytest
from edgetune_runtime.checked import Fields
from edgetune_runtime.ensemble import Ensemble, ensembles_from
from edgetune_runtime.ensemble_classification import joint_classification
from edgetune_runtime.ensemble_decoder import EnsembleDecoder, mean_distribution
from edgetune_runtime.errors import AdapterError, BundleError, InputError, OptionError

from .conftest import GOLDEN


def member(*labels):
    return SimpleNamespace(info=SimpleNamespace(labels=labels))


THREE = [member("a", "b", "c"), member("c", "b", "a"), member("a", "b", "c")]
LOGITS = [np.log(np.array(p, np.float32)) for p in ([0.4, 0.35, 0.25], [0.1, 0.5, 0.4], [0.1, 0.1, 0.8])]
"""Of a, b and c the members give 0.4 0.35 0.25, 0.4 0.5 0.1 and 0.1 0.1 0.8."""


def test_an_average_is_the_mean_of_probabilities_label_by_label():
    found = joint_classification(LOGITS, THREE, "average")
    wanted = {"c": (0.25 + 0.1 + 0.8) / 3, "b": (0.35 + 0.5 + 0.1) / 3, "a": (0.4 + 0.4 + 0.1) / 3}
    assert found.label == "c" and list(found.scores) == list("cba")
    assert found.scores == pytest.approx(wanted, abs=1e-6) and found.score == found.scores["c"]


def test_a_vote_gives_each_label_its_share_and_equals_go_by_the_mean():
    found = joint_classification(LOGITS, THREE, "vote")
    assert found.scores == pytest.approx({"c": 1 / 3, "b": 1 / 3, "a": 1 / 3})
    assert list(found.scores) == ["c", "b", "a"], "one vote each: the means 0.383, 0.317 and 0.3 decide"
    majority = joint_classification([*LOGITS[:1], LOGITS[0], LOGITS[2]], [THREE[0]] * 3, "vote")
    assert majority.label == "a" and majority.scores == pytest.approx({"a": 2 / 3, "c": 1 / 3, "b": 0})
    assert joint_classification([*LOGITS[:1], LOGITS[0], LOGITS[2]], [THREE[0]] * 3, "average").label == "c"


def test_a_vote_and_its_ties_are_cut_by_top_k_last():
    assert list(joint_classification(LOGITS, THREE, "vote", top_k=2).scores) == ["c", "b"]


def test_a_mean_distribution_is_that_of_probabilities_and_holds_for_large_logits():
    logits = np.array([[[0.0, 1.0, 2.0]], [[5.0, -1.0, 0.0]]], np.float32)
    each = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(np.exp(mean_distribution(logits)), each.mean(0), rtol=1e-6)
    far = mean_distribution(np.array([[[1e4, 0.0]], [[0.0, 1e4]]], np.float32))
    np.testing.assert_allclose(far, np.log([[0.5, 0.5]]), atol=1e-6)


class Rows:
    """A decoder whose state is a list of names and which drops as `Decoder` says."""

    def __init__(self):
        self.dropped = []

    def without_row(self, row, state):
        state = list(state)
        state[row] = state[-1]
        return state[:-1]


@pytest.mark.parametrize(("row", "left"), [(0, "c0 c1 b0 b1"), (1, "a0 a1 c0 c1"), (2, "a0 a1 b0 b1")])
def test_when_a_text_ends_the_last_takes_its_place_member_by_member(row, left):
    decoder = EnsembleDecoder(Rows(), [None, None])
    assert decoder.without_row(row, ["a0", "a1", "b0", "b1", "c0", "c1"]) == left.split()


@pytest.fixture(scope="module")
def writer():
    return edgetune_runtime.load(GOLDEN / "decoder-shared", threads=1)


MEMBERS = ["three", "soft", "seven"]


def greedy_by_hand(model, ids, count):
    """Each member reads the whole text anew at every step."""
    written = []
    for _ in range(count):
        each = []
        for name in MEMBERS:
            logits = model.logits([*ids, *written], adapter=name, keep=1)[0].astype(np.float64)
            each.append(np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum())
        token = int(np.mean(each, 0).argmax())
        if token in model.eos_token_ids:
            break
        written.append(token)
    return written


def test_an_ensemble_writes_the_likeliest_token_of_its_mean_distribution(writer):
    texts = ["once upon a time", "will it rain?", "a"]
    answers = writer.generate(texts, ensemble=MEMBERS, max_new_tokens=12)
    for text, answer in zip(texts, answers):
        ids = writer.tokenizer.encode(text)
        assert answer.token_ids == greedy_by_hand(writer, ids, 12)
        assert writer.generate(text, ensemble=MEMBERS, max_new_tokens=12).token_ids == answer.token_ids
        chunks = list(writer.stream(text, ensemble=MEMBERS, max_new_tokens=12))
        assert [t for chunk in chunks for t in chunk.token_ids] == answer.token_ids
    alone = [writer.generate(texts[0], adapter=name, max_new_tokens=12).token_ids for name in MEMBERS]
    assert answers[0].token_ids not in alone


def test_rows_of_an_ensemble_end_apart(writer):
    texts = ["once upon a time", "a", "will it rain?"]
    options = dict(ensemble=MEMBERS, max_new_tokens=60, temperature=1.5, stop=["e", "a", "t"])
    together = writer.generate(texts, seed=3, **options)
    alone = [writer.generate(text, seed=3 + row, **options) for row, text in enumerate(texts)]
    assert [x.token_ids for x in together] == [x.token_ids for x in alone]
    assert len({len(x.token_ids) for x in together}) > 1, "rows that end together test nothing"


def test_an_ensemble_of_one_is_its_member(writer):
    options = dict(max_new_tokens=8)
    expected = writer.generate("a", adapter="seven", **options).token_ids
    assert writer.generate("a", ensemble=["seven"], **options).token_ids == expected


def test_the_longest_member_must_fit(writer):
    room = writer.manifest.graph.max_positions - 7
    writer.generate([3] * (room - 1), ensemble=["three", "seven"], max_new_tokens=1)
    with pytest.raises(edgetune_runtime.ContextLengthError, match=f"takes {room + 7} positions"):
        writer.generate([3] * room, ensemble=["three", "seven"], max_new_tokens=1)


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        (dict(ensemble="all"), AdapterError, "no ensemble 'all' here. Known: none"),
        (dict(ensemble=["three", "nobody"]), AdapterError, "no adapter 'nobody' here"),
        (dict(ensemble=[]), InputError, "Pass the name of one, or a list"),
        (dict(ensemble=["three", None]), InputError, "Pass the name of one, or a list"),
        (dict(ensemble=["three", "three"]), InputError, "names an adapter twice"),
        (dict(ensemble=["three"], adapter="three"), OptionError, "both are given"),
    ],
)
def test_what_is_no_ensemble_is_refused(writer, options, error, told):
    with pytest.raises(error, match=told):
        writer.generate("a", **options)


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        (dict(ensemble=["weather", "mood"]), AdapterError, "different labels, so they are no ensemble"),
        (dict(ensemble=["weather"], combine="mean"), OptionError, "'average' or 'vote'"),
        (dict(combine="vote"), OptionError, "is for an ensemble, and none is given"),
    ],
)
def test_what_cannot_classify_together_is_refused(options, error, told):
    with pytest.raises(error, match=told):
        edgetune_runtime.load(GOLDEN / "encoder-shared", threads=1).classify("a", **options)


def read(ensembles):
    return ensembles_from(Fields({"ensembles": ensembles}, "bundle.json", BundleError), {"a", "b"})


def test_a_manifest_names_ensembles():
    assert read({"x": {"adapters": ["a", "b"]}}) == {"x": Ensemble(("a", "b"), "average")}
    assert read({"x": {"adapters": ["a", "b"], "combine": "vote"}})["x"].combine == "vote"
    assert ensembles_from(Fields({}, "bundle.json", BundleError), {"a"}) == {}


@pytest.mark.parametrize(
    "wrong",
    [{}, {"adapters": []}, {"adapters": ["a", "c"]}, {"adapters": ["a", "a"]}, {"adapters": ["a"], "combine": "sum"}],
)
def test_a_manifest_with_an_ensemble_that_cannot_answer_is_refused(wrong):
    with pytest.raises(BundleError, match=r"bundle\.json: ensembles: x"):
        read({"x": wrong})
