"""What holds for every encoder bundle: batches, mixed tasks, cuts and threads, over the golden bundles."""

import logging
from concurrent.futures import ThreadPoolExecutor

import edgetune_runtime
import numpy as np
import pytest
from edgetune_runtime import AdapterError, ContextLengthError, InputError, TaskError

TEXTS = ["a soft prompt", ("a pair", "of texts"), "", "日本語 😀 \ud800", "the same words " * 5, "x"]


def assert_same(found, expected):
    assert found.label == expected.label
    assert dict(found.scores) == pytest.approx(dict(expected.scores), abs=1e-4)


def test_a_row_does_not_depend_on_its_neighbours(encoder):
    names = list(encoder.adapters)
    texts = TEXTS * 7  # more than one batch holds
    adapters = [names[i % len(names)] for i in range(len(texts))]
    for text, name, found in zip(texts, adapters, encoder.classify(texts, adapter=adapters)):
        assert list(found.scores) and set(found.scores) == set(encoder.adapters[name].labels)
        assert_same(found, encoder.classify(text, adapter=name))


def test_scores_are_probabilities_of_all_labels(encoder):
    for name, info in encoder.adapters.items():
        found = encoder.classify("a soft prompt", adapter=name)
        assert sum(found.scores.values()) == pytest.approx(1, abs=1e-12)
        assert list(found.scores.values()) == sorted(found.scores.values(), reverse=True)
        assert (found.label, found.score) == next(iter(found.scores.items()))
        cut = encoder.classify("a soft prompt", adapter=name, top_k=1)
        assert dict(cut.scores) == {found.label: found.score}
        assert len(found.scores) == len(info.labels)


def test_logits_are_what_the_scores_come_from(encoder):
    name = next(iter(encoder.adapters))
    ids = encoder.tokenizer.encode("a soft prompt")
    logits = encoder.class_logits([ids, ids[:2]], adapter=name)
    labels = encoder.adapters[name].labels
    assert logits.shape == (2, len(labels))
    assert encoder.classify(ids, adapter=name).label == labels[logits[0].argmax()]
    assert encoder.class_logits([], adapter=name).shape == (0, len(labels))


def test_long_texts_are_cut_with_one_warning(encoder_folder, caplog):
    model = edgetune_runtime.load(encoder_folder, threads=1)
    limit = model.manifest.graph.max_positions
    if limit is None:
        pytest.skip("a base without a limit")
    name = next(iter(model.adapters))
    room = limit - model.adapters[name].virtual_tokens
    long = "a soft prompt " * limit
    with caplog.at_level(logging.WARNING, "edgetune_runtime"):
        found = [model.classify(long, adapter=name) for _ in range(3)]
    assert len(caplog.records) == 1
    assert str(room) in caplog.text and str(limit) in caplog.text
    assert_same(found[0], model.classify(model.tokenizer.encode_within(long, room)[0], adapter=name))
    with pytest.raises(ContextLengthError, match=str(limit)):
        model.class_logits([model.tokenizer.encode(long)], adapter=name)


def test_token_ids_are_taken_as_they_are(encoder):
    ids = encoder.tokenizer.encode("a soft prompt")
    for same in (ids, tuple(ids), np.array(ids), np.array(ids, np.int32)):
        assert_same(encoder.classify(same), encoder.classify("a soft prompt"))


def test_threads_do_not_meet(encoder):
    expected = [x.scores for x in encoder.classify(TEXTS)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: [x.scores for x in encoder.classify(TEXTS)], range(8)))
    assert found == [expected] * 8


def test_what_an_encoder_does_not_do_is_refused(encoder):
    with pytest.raises(TaskError, match="does not generate"):
        encoder.generate("a")
    with pytest.raises(TaskError, match="does not generate"):
        encoder.stream("a")
    with pytest.raises(AdapterError, match=r"'nobody'.*Known"):
        encoder.classify("a", adapter="nobody")
    with pytest.raises(AdapterError):
        encoder.classify("a", adapter=None)
    with pytest.raises(InputError, match="vocabulary"):
        encoder.classify([10**9])


def test_no_texts_give_no_classifications(encoder):
    assert encoder.classify([]) == []
