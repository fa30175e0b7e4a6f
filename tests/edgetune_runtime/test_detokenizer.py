"""Pieces of a text, joined, are the text, for every kind of tokenizer."""

import random

import pytest
from edgetune_runtime.detokenizer import PATIENCE, Detokenizer, unfinished
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

WORDS = ["a", " ", "é", "€", "😀", "日本", "\n", "👨‍👩‍👧", "don't"]


def byte_level():
    """One token per byte, as GPT-2 writes them."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<s>"])
    return tokenizer


def byte_fallback():
    """Words with SentencePiece's spaces, and bytes for all else, as Llama 2 writes them."""
    vocab = {f"<0x{i:02X}>": i for i in range(256)} | {"▁": 256, "▁a": 257, "b": 258, "<unk>": 259}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>", byte_fallback=True))
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(parts)
    tokenizer.add_special_tokens(["<s>"])
    return tokenizer


def fallback_ids(rng):
    words = [rng.choice([[257], [258], [256], list("é".encode()), list("😀".encode())]) for _ in range(12)]
    return [i for word in words for i in word]


def pieces_of(tokenizer, ids):
    detokenizer = Detokenizer(tokenizer.decode)
    return [*(detokenizer.push(i) for i in ids), detokenizer.end()]


@pytest.mark.parametrize("seed", range(40))
def test_bytes_join_to_the_text(seed):
    tokenizer, rng = byte_level(), random.Random(seed)
    ids = tokenizer.encode("".join(rng.choice(WORDS) for _ in range(20))).ids
    assert "".join(pieces_of(tokenizer, ids)) == tokenizer.decode(ids)


@pytest.mark.parametrize("seed", range(40))
def test_bytes_that_are_no_text_join_to_what_the_tokenizer_makes_of_them(seed):
    tokenizer, rng = byte_level(), random.Random(seed)
    ids = [rng.randrange(256) for _ in range(50)]
    assert "".join(pieces_of(tokenizer, ids)) == tokenizer.decode(ids)


@pytest.mark.parametrize("seed", range(40))
def test_sentencepiece_spaces_and_bytes_join_to_the_text(seed):
    tokenizer, rng = byte_fallback(), random.Random(seed)
    ids = fallback_ids(rng)
    assert "".join(pieces_of(tokenizer, ids)) == tokenizer.decode(ids)


@pytest.mark.parametrize("seed", range(40))
def test_a_broken_byte_costs_no_letters(seed):
    tokenizer, rng = byte_fallback(), random.Random(seed)
    ids = fallback_ids(rng)
    ids.insert(rng.randrange(len(ids)), rng.randrange(128, 256))
    letters = [c for c in "".join(pieces_of(tokenizer, ids)) if c in "ab"]
    assert letters == [c for c in tokenizer.decode(ids) if c in "ab"]


def test_no_piece_but_the_last_ends_in_half_a_character():
    tokenizer = byte_level()
    pieces = pieces_of(tokenizer, tokenizer.encode("a😀b").ids)
    assert pieces == ["a", "", "", "", "😀", "b", ""]
    assert pieces_of(tokenizer, tokenizer.encode("a😀").ids[:-1]) == ["a", "", "", "", "\ufffd"]


def test_a_space_in_front_of_a_word_goes_out_with_it():
    assert pieces_of(byte_fallback(), [257, 257, 258]) == ["a", " a", "b", ""]


def test_special_tokens_leave_no_trace():
    tokenizer = byte_fallback()
    special = tokenizer.token_to_id("<s>")
    assert pieces_of(tokenizer, [special, 257, special, special, 257]) == ["", "a", "", "", " a", ""]


def test_endless_bytes_that_are_no_text_go_out_all_the_same():
    tokenizer = byte_level()
    ids = [tokenizer.encode("é").ids[1]] * (20 * PATIENCE)
    pieces = pieces_of(tokenizer, ids)
    assert "".join(pieces) == "\ufffd" * len(ids)
    assert max(map(len, pieces)) <= PATIENCE


def test_unfinished_counts_only_the_end():
    assert unfinished("\ufffda\ufffd\ufffd") == 2
