"""Texts are encoded as in training: never padded, cut only where asked."""

import pytest
from edgetune_runtime.errors import BundleError
from edgetune_runtime.tokenizer import Tokenizer, longest_first, read_tokenizer, readable
from tokenizers import Tokenizer as Inner
from tokenizers import models, pre_tokenizers, processors

CLS, SEP = 0, 1


def words(text):
    """Ids of single letters, as the tokenizer of these tests knows them."""
    return [ord(c) - ord("a") + 3 for c in text.split()]


def letters():
    """One token per letter, [CLS] in front, [SEP] behind; stored with truncation and padding, as checkpoints do."""
    vocab = {"[CLS]": CLS, "[SEP]": SEP, "[UNK]": 2} | {chr(ord("a") + i): i + 3 for i in range(26)}
    inner = Inner(models.WordLevel(vocab, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    special = [("[CLS]", CLS), ("[SEP]", SEP)]
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=special
    )
    inner.add_special_tokens(["[CLS]", "[SEP]"])
    inner.enable_truncation(4)
    inner.enable_padding(length=9)
    return inner


@pytest.fixture
def tokenizer(tmp_path):
    letters().save(str(tmp_path / "tokenizer.json"))
    return read_tokenizer(tmp_path / "tokenizer.json")


def test_stored_truncation_and_padding_do_not_count(tokenizer):
    assert tokenizer.encode("a b c d e f") == [CLS, *words("a b c d e f"), SEP]
    assert tokenizer.encode("a") == [CLS, *words("a"), SEP]
    assert tokenizer.encode("a b", add_special_tokens=False) == words("a b")


def test_a_cut_keeps_the_special_token_behind_the_text(tokenizer):
    assert tokenizer.encode_within("a b c d e f", 5) == ([CLS, *words("a b c"), SEP], 8)
    assert tokenizer.encode_within("a b c", 5) == ([CLS, *words("a b c"), SEP], 5)
    assert tokenizer.encode_within("a b c", 2) == ([CLS, SEP], 5)


def test_of_a_pair_the_longer_is_cut_first(tokenizer):
    assert tokenizer.encode_within(("a b c d e f", "x y"), 8)[0] == [CLS, *words("a b c"), SEP, *words("x y"), SEP]
    assert tokenizer.encode_within(("x", "a b c d e f"), 7)[0] == [CLS, *words("x"), SEP, *words("a b c"), SEP]


@pytest.mark.parametrize("room", range(12))
def test_pairs_are_cut_as_the_tokenizers_library_does_it(room):
    for a, b in ((6, 5), (5, 6), (1, 9), (9, 1), (5, 5), (0, 7)):
        inner = letters()
        inner.no_padding()
        inner.enable_truncation(room + 3, strategy="longest_first")
        first, pair = " ".join("abcdefghi"[:a]), " ".join("nopqrstuv"[:b])
        assert Tokenizer(letters()).encode_within((first, pair), room + 3)[0] == inner.encode(first, pair).ids
        assert sum(longest_first(a, b, room)) == min(a + b, room)


def test_the_empty_text_is_its_special_tokens(tokenizer):
    assert tokenizer.encode("") == [CLS, SEP]


def test_lone_surrogates_are_read_as_the_replacement_character(tokenizer):
    assert readable("a\ud800b") == "a\ufffdb"
    assert readable("\ud83d\ude00") == "😀"
    assert readable("plain é") == "plain é"
    assert tokenizer.encode("\ud800 a")[-2:] == [*words("a"), SEP]


def test_decoding_skips_special_tokens(tokenizer):
    assert tokenizer.decode([CLS, *words("a b"), SEP]) == "a b"


def test_a_file_that_is_no_tokenizer_is_named(tmp_path):
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0"')
    with pytest.raises(BundleError, match=r"tokenizer\.json"):
        read_tokenizer(tmp_path / "tokenizer.json")
