"""A model that was warmed up has its adapters in memory and has run its graph, and answers as one that was not."""

import edgetune_runtime
import pytest
from edgetune_runtime import AdapterError, OptionError

from .conftest import GOLDEN


def answer(model):
    call = model.classify if model.kind == "encoder" else model.generate
    found = call("once upon a time")
    return found if model.kind == "encoder" else (found.text, found.token_ids, found.finish_reason)


@pytest.fixture
def runs(monkeypatch):
    """Widths of the token ids that graphs are run on."""
    found = []
    from edgetune_runtime.decoder import SharedDecoder
    from edgetune_runtime.encoder import Encoder
    from edgetune_runtime.standalone import StandaloneDecoder

    for engine, name, width in (
        (SharedDecoder, "_prefill_row", lambda ids, *_: ids.shape[1]),
        (SharedDecoder, "step", lambda *_: 1),
        (StandaloneDecoder, "_run", lambda ids, *_: len(ids)),
        (Encoder, "_logits", lambda feeds: feeds["input_ids"].shape[1]),
    ):
        inner = getattr(engine, name)
        monkeypatch.setattr(
            engine, name, lambda self, *a, inner=inner, width=width: found.append(width(*a)) or inner(self, *a)
        )
    return found


def test_a_warmed_up_model_has_run_its_graph_and_answers_the_same(bundle_folder, runs):
    cold, warm = (edgetune_runtime.load(bundle_folder, threads=1) for _ in range(2))
    warm.warm_up()
    assert runs == ([16] if warm.kind == "encoder" else [16, 1])
    assert answer(warm) == answer(cold)


def test_adapters_that_are_named_are_in_memory_afterwards():
    model = edgetune_runtime.load(GOLDEN / "decoder-shared", threads=1)
    names = list(model.adapters)
    assert model.loaded_adapters == ()
    model.warm_up()
    assert model.loaded_adapters == (model.default_adapter,)
    model.warm_up([None, *names])
    assert set(model.loaded_adapters) == set(names)


def test_the_bare_base_is_warmed_up_without_an_adapter(runs):
    model = edgetune_runtime.load(GOLDEN / "decoder-shared", threads=1)
    model.warm_up([None], tokens=5)
    assert model.loaded_adapters == () and runs == [5, 1]


@pytest.mark.parametrize("name", ["decoder-shared", "encoder-shared", "decoder-standalone"])
def test_more_tokens_than_fit_are_as_many_as_fit(name, runs):
    model = edgetune_runtime.load(GOLDEN / name, threads=1)
    model.warm_up(tokens=10_000)
    taken = model.adapters[model.default_adapter].virtual_tokens
    assert runs[0] == model.manifest.graph.max_positions - taken - 1


def test_what_cannot_be_warmed_up_is_refused():
    encoder = edgetune_runtime.load(GOLDEN / "encoder-shared", threads=1)
    with pytest.raises(AdapterError, match="Name one"):
        encoder.warm_up([])
    with pytest.raises(AdapterError, match="nobody"):
        encoder.warm_up(["nobody"])
    with pytest.raises(OptionError, match="tokens"):
        encoder.warm_up(tokens=0)
