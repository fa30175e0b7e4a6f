"""A memory limit makes contexts and batches smaller, or refuses; what is answered stays the same."""

from dataclasses import replace

import edgetune_runtime
import pytest
from edgetune_runtime import ContextLengthError, EdgetuneError, MemoryLimitError, OptionError
from edgetune_runtime.layer import Layer
from edgetune_runtime.manifest import FileEntry
from edgetune_runtime.memory import HELD, TOKENIZER_HELD, VECTORS_A_POSITION, longest_text, planned_memory

from .conftest import GOLDEN

DECODER, ENCODER = GOLDEN / "decoder-shared", GOLDEN / "encoder-shared"


def manifest_of(folder=DECODER):
    return edgetune_runtime.load(folder, threads=1).manifest


def test_what_a_model_needs_is_counted_from_its_manifest():
    manifest = manifest_of()
    memory, files = planned_memory(manifest), {name: x.size_bytes for name, x in manifest.files.items()}
    weights = files["model.onnx"] + files["model.onnx.data"]
    adapters = sum(files[name] for name in manifest.adapters.values())
    assert memory.fixed_bytes == int(weights * HELD["fp32"]) + TOKENIZER_HELD * files["tokenizer.json"] + adapters
    assert memory.cache_bytes == 2 * 2 * 2 * 8 * 4, "two layers, keys and values, two heads of eight floats"
    assert memory.run_bytes(10, rows=3) == (
        3 * memory.cache_bytes * 10 + VECTORS_A_POSITION * 32 * 4 * 10 + 4 * 4 * 10**2
    )
    assert memory.max_positions == 128 and memory.limit_bytes is None
    assert planned_memory(manifest, None, 10).fixed_bytes == memory.fixed_bytes - adapters + 10
    wide = replace(manifest, precision="int4")
    assert planned_memory(wide).fixed_bytes - memory.fixed_bytes == pytest.approx(weights * (1.75 - 1.1), abs=1)


def test_rows_of_an_encoder_run_together_and_have_no_cache():
    memory = planned_memory(manifest_of(ENCODER))
    assert memory.cache_bytes == 0 and memory.run_bytes(7, rows=3) == 3 * memory.run_bytes(7)


def test_the_context_is_the_longest_that_fits():
    manifest = manifest_of()
    free = planned_memory(manifest)
    for positions in (64, 65, 100, 127):
        limit = free.fixed_bytes + free.run_bytes(positions)
        assert planned_memory(manifest, limit).max_positions == positions
        assert planned_memory(manifest, limit - 1).max_positions == positions - 1 if positions > 64 else True
    assert planned_memory(manifest, 10**12).max_positions == 128
    endless = replace(manifest, graph=replace(manifest.graph, max_positions=None))
    assert planned_memory(endless).max_positions is None
    found = planned_memory(endless, 10**9)
    assert found.run_bytes(found.max_positions) <= 10**9 - found.fixed_bytes < found.run_bytes(found.max_positions + 1)


@pytest.mark.parametrize("free", [-5, 0, 1, 10_000, 123_456_789])
def test_the_longest_text_is_found_without_a_search(free):
    memory = planned_memory(manifest_of())
    found = longest_text(memory, free)
    assert found == 0 or memory.run_bytes(found) <= free
    assert memory.run_bytes(found + 1) > free


def test_a_model_that_cannot_fit_is_refused_with_the_bytes():
    manifest = manifest_of()
    free = planned_memory(manifest)
    least = free.fixed_bytes + free.run_bytes(64)
    for limit in (0, free.fixed_bytes, least - 1):
        with pytest.raises(MemoryLimitError, match=f"{least} bytes for 64 positions.*allows {limit}") as caught:
            edgetune_runtime.load(DECODER, threads=1, memory_limit=limit)
        assert isinstance(caught.value, EdgetuneError) and isinstance(caught.value, MemoryError)
    assert edgetune_runtime.load(DECODER, threads=1, memory_limit=least).max_positions == 64
    for wrong in (-1, 1.5, True):
        with pytest.raises(OptionError, match="memory_limit"):
            edgetune_runtime.load(DECODER, memory_limit=wrong)


def test_weights_are_those_of_the_graphs_alone():
    manifest = manifest_of()
    more = {**manifest.files, "onnx_adapters/a.onnx_adapter": FileEntry("", 10**9), "notes.txt": FileEntry("", 10**9)}
    assert planned_memory(replace(manifest, files=more)).fixed_bytes == planned_memory(manifest).fixed_bytes


def test_answers_within_the_context_are_the_same_and_longer_ones_are_refused():
    plain = edgetune_runtime.load(DECODER, threads=1)
    limit = plain.memory.fixed_bytes + plain.memory.run_bytes(70)
    tight = edgetune_runtime.load(DECODER, threads=1, memory_limit=limit)
    assert (plain.max_positions, tight.max_positions, tight.memory.limit_bytes) == (128, 70, limit)
    texts = ["once upon", "a little bird", "the sea"]
    for name in [*plain.adapters, None]:
        a, b = (m.generate(texts, adapter=name, max_new_tokens=12) for m in (plain, tight))
        assert [x.token_ids for x in a] == [x.token_ids for x in b]
    with pytest.raises(ContextLengthError, match="70"):
        tight.generate([5] * 71, adapter=None)
    assert len(tight.generate([5] * 60, adapter=None, min_new_tokens=10).token_ids) == 10


def rows_of_prefills(model, monkeypatch):
    sizes, prefill = [], type(model.decoder).prefill

    def counted(self, rows, *rest):
        sizes.append(len(rows))
        return prefill(self, rows, *rest)

    monkeypatch.setattr(type(model.decoder), "prefill", counted)
    return sizes


def test_batches_become_smaller_before_they_are_refused(monkeypatch):
    plain = edgetune_runtime.load(DECODER, threads=1)
    expected = [
        x.token_ids for x in plain.generate(["once upon"] * 7, adapter=None, max_new_tokens=5, temperature=1, seed=3)
    ]
    limit = plain.memory.fixed_bytes + plain.memory.run_bytes(128, rows=3)
    tight = edgetune_runtime.load(DECODER, threads=1, memory_limit=limit)
    assert tight.max_positions == 128
    sizes = rows_of_prefills(tight, monkeypatch)
    found = tight.generate(["once upon"] * 7, adapter=None, max_new_tokens=5, temperature=1, seed=3)
    assert [x.token_ids for x in found] == expected and sizes == [3, 3, 1]


@pytest.mark.parametrize("several", [{"n": 4, "temperature": 1}, {"num_beams": 4}])
def test_more_results_than_fit_are_refused_and_fewer_are_written(several):
    plain = edgetune_runtime.load(DECODER, threads=1)
    limit = plain.memory.fixed_bytes + plain.memory.run_bytes(128, rows=2)
    tight = edgetune_runtime.load(DECODER, threads=1, memory_limit=limit)
    given = dict(adapter=None, max_new_tokens=100, seed=0)
    with pytest.raises(MemoryLimitError, match=f"4 rows of .* {limit} bytes"):
        tight.generate("once upon", **given, **several)
    fewer = {**several, next(iter(several)): 2}
    assert tight.generate("once upon", **given, **fewer).token_ids == (
        plain.generate("once upon", **given, **fewer).token_ids
    )


def test_an_encoder_reads_as_many_rows_as_fit(monkeypatch):
    plain = edgetune_runtime.load(ENCODER, threads=1)
    texts = ["so happy", "the weather in the city today, will it rain"] * 5
    longest = max(len(plain.tokenizer.encode(x)) for x in texts) + plain.adapters[plain.default_adapter].virtual_tokens
    limit = plain.memory.fixed_bytes + max(plain.memory.run_bytes(longest, rows=2), plain.memory.run_bytes(64))
    tight = edgetune_runtime.load(ENCODER, threads=1, memory_limit=limit)
    sizes, run = [], type(tight.encoder)._run

    def counted(self, rows):
        sizes.append((len(rows), max(len(x.token_ids) for x in rows)))
        return run(self, rows)

    monkeypatch.setattr(type(tight.encoder), "_run", counted)
    found = tight.classify(texts)
    assert len(sizes) > 1 and sum(rows for rows, _ in sizes) == len(texts)
    for rows, length in sizes:
        assert rows == 1 or tight.memory.run_bytes(length, rows) <= limit - tight.memory.fixed_bytes
    for a, b in zip(found, plain.classify(texts), strict=True):
        assert a.scores == pytest.approx(b.scores, abs=1e-5)


def test_layers_count_with_their_own_shapes():
    manifest = manifest_of()
    uneven = replace(manifest, graph=replace(manifest.graph, layers=(Layer(1, 8), Layer(4, 16))))
    assert planned_memory(uneven).cache_bytes == 2 * 4 * (8 + 64)
