"""Many threads on one model, with adapters that come and go: no error, and the answers that one thread alone gets."""

import threading

import edgetune_runtime
import pytest
from references.asks import drawn_asks, written_contents
from references.crowd import Crowd, answers_of

from .conftest import GOLDEN

THREADS, REQUESTS = 8, 300


@pytest.mark.parametrize("limited", [False, True], ids=["all stay in memory", "adapters are let go"])
@pytest.mark.parametrize("name", ["decoder-shared", "encoder-shared"])
def test_threads_that_share_a_model_get_the_answers_of_one_alone(name, limited, tmp_path):
    folder = GOLDEN / name
    bundled = edgetune_runtime.load(folder, threads=1)
    files = written_contents({x: folder / f for x, f in bundled.manifest.adapters.items()}, tmp_path, 1)
    alone = model_with(files, folder, None)
    asks = drawn_asks(alone, list(files), 20, 12)
    expected = answers_of(alone, asks, files)
    crowd = Crowd(model_with(files, folder, 4000 if limited else None), asks, expected, files)
    crowd.run(THREADS, 0, REQUESTS)
    assert crowd.wrong == []
    assert sum(crowd.counts[kind] for kind in crowd.answered) == REQUESTS
    assert {"replaced under way", "own adapter", "mixed batch"} <= set(crowd.counts)
    assert threading.active_count() < THREADS


def test_a_wrong_answer_would_be_seen(tmp_path):
    folder = GOLDEN / "encoder-shared"
    model = edgetune_runtime.load(folder, threads=1)
    files = written_contents({x: folder / f for x, f in model.manifest.adapters.items()}, tmp_path, 1)
    model = model_with(files, folder, None)
    asks = drawn_asks(model, list(files), 5, 16)
    expected = {key: () for key in answers_of(model, asks, files)}
    crowd = Crowd(model, asks, expected, files)
    crowd.run(2, 0, 20)
    assert len(crowd.wrong) >= 20


def model_with(files, folder, limit):
    """The bundle's model with each content under its own name, and memory for `limit` bytes of adapters."""
    model = edgetune_runtime.load(folder, threads=1, adapter_memory_limit=limit)
    for content, path in files.items():
        model.add_adapter(path, content)
    return model
