"""Encoder–decoders: prompts and prefixes in every place are what attention written out gives."""

import functools

import pytest
import torch
from references.pairs import PAIRS, VOCAB, padded, pair_base, random_virtual, reference_logits, rows_of

from edgetune.models.forward_pairs import pair_keys_and_values, pair_logits_at, run_pair
from edgetune.models.layer import LayerShape
from edgetune.models.virtual import NOTHING, Virtual

close = dict(
    rtol=0, atol=2e-4
)  # CPUs round their products differently: 8e-5 was seen for mT5; what is wrong is above 1e-2
cached_base = functools.cache(pair_base)
CASES = {
    "nothing": dict(places=()),
    "encoder": dict(places=("encoder",)),
    "decoder": dict(places=("decoder",)),
    "cross": dict(places=("cross",)),
    "everywhere": dict(),
    "prompt": dict(places=(), prompt=4),
}


@pytest.fixture(params=list(PAIRS))
def base(request):
    return cached_base(request.param)


@pytest.mark.parametrize("case", list(CASES))
def test_padded_rows_equal_attention_written_out_for_each(base, case):
    virtual, prompts, written = random_virtual(base, **CASES[case]), rows_of((9, 3, 1)), rows_of((5, 11, 2), seed=1)
    (ids, mask), (decoder_ids, _) = padded(prompts), padded(written)
    with torch.no_grad():
        got = run_pair(base, ids, mask, decoder_ids, virtual).logits
    for row, prompt, text in zip(got, prompts, written):
        torch.testing.assert_close(row[: len(text)], reference_logits(base, virtual, prompt, text), **close)


@pytest.mark.parametrize("case", [x for x in CASES if x != "nothing"])
def test_virtual_tokens_in_each_place_matter(base, case):
    (prompt,), (text,) = rows_of((6,)), rows_of((6,), seed=1)
    virtual = random_virtual(base, **CASES[case])
    difference = reference_logits(base, virtual, prompt, text) - reference_logits(base, NOTHING, prompt, text)
    assert difference.abs().max() > 1e-2


def test_a_decoder_prefix_of_real_tokens_equals_having_written_them(base):
    front, text = rows_of((4, 7))
    with torch.no_grad():
        keys = pair_keys_and_values(base, torch.tensor([front]))
    got = reference_logits(base, NOTHING, front, [*front, *text])[len(front) :]
    (ids, mask), (decoder_ids, _) = padded([front]), padded([text])
    with torch.no_grad():
        ours = run_pair(base, ids, mask, decoder_ids, Virtual(decoder=keys["decoder"])).logits[0]
    torch.testing.assert_close(ours, got, **close)


def test_a_cross_prefix_of_real_tokens_is_their_encoder_states_read_once_more(base):
    """Softmax over the same keys twice is softmax over them once: reading a prompt twice changes nothing."""
    (front,), (text,) = rows_of((4,)), rows_of((6,), seed=1)
    with torch.no_grad():
        keys = pair_keys_and_values(base, torch.tensor([front]))
        (ids, mask), (decoder_ids, _) = padded([front]), padded([text])
        got = run_pair(base, ids, mask, decoder_ids, Virtual(cross=keys["cross"])).logits[0]
    torch.testing.assert_close(got, reference_logits(base, NOTHING, front, text), **close)


def test_logits_at_places_are_the_full_logits_there(base):
    virtual = random_virtual(base)
    (ids, mask), (decoder_ids, _) = padded(rows_of((5, 2))), padded(rows_of((4, 6), seed=1))
    at = torch.zeros(2, 6, dtype=torch.bool)
    at[0, [0, 3]] = at[1, 5] = True
    with torch.no_grad():
        got = pair_logits_at(base, ids, mask, decoder_ids, at, virtual)
        full = run_pair(base, ids, mask, decoder_ids, virtual).logits
    torch.testing.assert_close(got, full[at], rtol=0, atol=1e-5)
    assert not base.output_head._forward_pre_hooks


def test_what_a_base_is_made_of_is_read_off_it():
    bart, t5, marian = (cached_base(x) for x in ("BART", "T5", "Marian"))
    assert bart.kind == t5.kind == marian.kind == "encoder-decoder"
    assert bart.places.encoder == bart.places.decoder == bart.places.cross == (LayerShape(4, 16),) * 2
    assert bart.places.order == ("decoder", "cross") * 2
    assert (bart.places.relative, t5.places.relative, marian.places.relative) == (False, True, False)
    assert (bart.places.embedding_scale, marian.places.embedding_scale) == (1.0, 8.0)
    assert (bart.places.beginning.start, bart.places.beginning.forced_bos, bart.places.beginning.forced_eos) == (
        2,
        1,
        2,
    )
    assert marian.places.beginning.suppressed == (0,) and t5.places.beginning.forced_bos is None
    assert (bart.max_positions, t5.max_positions, t5.vocab_size) == (128, None, VOCAB)
