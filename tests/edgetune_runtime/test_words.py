"""Words, tokens and entities by hand-worked cases; seqeval counts entities the same."""

import random

import pytest
from edgetune_runtime.inputs import words_from
from edgetune_runtime.spans import entities, is_bio
from edgetune_runtime.template import filled, filled_ids
from edgetune_runtime.tokenizer import Tokenizer
from edgetune_runtime.words import first_tokens, joined_words, split_of, words_of
from tokenizers import Tokenizer as Inner
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

CORPUS = ["once upon a time in Paris, Zürich and New York", "Is it raining? It was never dry", "bird <mask> tall green"]


def byte_level():
    inner = Inner(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<s>", "<mask>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    inner.train_from_iterator(CORPUS, trainer)
    inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return Tokenizer(inner)


def word_piece():
    inner = Inner(models.WordPiece(unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer()
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    inner.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=120, special_tokens=specials))
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return Tokenizer(inner)


def metaspace():
    inner = Inner(models.Unigram())
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.train_from_iterator(
        CORPUS, trainers.UnigramTrainer(vocab_size=60, unk_token="<unk>", special_tokens=["<unk>"])
    )
    return Tokenizer(inner)


TOKENIZERS = {"byte level": byte_level, "word pieces": word_piece, "metaspace": metaspace}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_words_first_token_covers_its_first_character(name):
    tokenizer = TOKENIZERS[name]()
    words = joined_words(["Zürich", "and", "New", "York", ",", "dry"])
    ids, spans, length = tokenizer.encode_with_spans(words.text, None)
    assert len(ids) == len(spans) == length
    first = first_tokens(words, spans)
    for (start, end), token in zip(words.places, first):
        assert spans[token][0] <= start < spans[token][1] <= end
        assert token == 0 or spans[token - 1][1] <= start
    assert sorted(set(first)) == first


def test_a_word_without_a_token_and_one_behind_the_cut_have_none():
    tokenizer = word_piece()
    words = joined_words(["Zürich", "\u200b", "and"])  # the normaliser drops what has no width
    _, spans, _ = tokenizer.encode_with_spans(words.text, None)
    assert [token is None for token in first_tokens(words, spans)] == [False, True, False]
    ids, spans, length = tokenizer.encode_with_spans("bird tall green bird", 4)
    assert len(ids) == 4 and ids[0] == 2 and ids[-1] == 3 and length > 4
    assert first_tokens(joined_words(["bird", "tall", "green", "bird"]), spans)[-1] is None


def test_a_text_is_split_at_white_space_or_at_punctuation_too():
    text = ' I\'d go to "U.S.",\tnow!? '
    spaced, marked = words_of(text, "space"), words_of(text, "punctuation")
    assert spaced.words == ("I'd", "go", "to", '"U.S.",', "now!?")
    assert marked.words == ("I'd", "go", "to", '"', "U.S", ".", '"', ",", "now", "!", "?")
    assert all(text[start:end] == word for (start, end), word in zip(marked.places, marked.words))
    assert words_of("", "space").places == () and words_of(" - ", "punctuation").words == ("-",)


def test_rows_say_how_their_words_were_split():
    assert split_of([["In", "Paris", ",", "now"]]) == "punctuation"
    assert split_of([["In", "Paris,", "now"], ["a", ","]]) == "space"
    assert split_of([["plain", "words"]]) == "space"


def test_words_are_one_text_as_a_tuple_and_a_batch_as_a_list():
    (one,), is_one = words_from(("a", "b"))
    assert is_one and one.split("space").text == "a b"
    batch, is_one = words_from(["a, b", ["c", "d"], ("e",)])
    assert not is_one and [x.split("space").words for x in batch] == [("a,", "b"), ("c", "d"), ("e",)]


def test_entities_begin_with_b_or_with_an_i_that_continues_none():
    tags = ["B-x", "I-x", "I-y", "O", "I-y", "B-y", "B-y", "I-x"]
    assert entities(tags) == [("x", 0, 1), ("y", 2, 2), ("y", 4, 4), ("y", 5, 5), ("y", 6, 6), ("x", 7, 7)]
    assert entities(["B-a-b", "I-a-b", "O"]) == [("a-b", 0, 1)]


def test_entities_are_those_of_seqeval():
    labeling = pytest.importorskip("seqeval.metrics.sequence_labeling", reason="seqeval is not installed")
    rng = random.Random(0)
    for _ in range(300):
        tags = [rng.choice(["O", "B-x", "I-x", "B-y", "I-y"]) for _ in range(rng.randint(1, 9))]
        assert entities(tags) == labeling.get_entities(tags)


def test_tags_of_another_form_are_no_bio_tags():
    assert is_bio(["O", "B-x"]) and not is_bio(["O"]) and not is_bio(["noun", "verb"]) and not is_bio(["O", "B-"])


def test_a_filled_template_leaves_what_texts_hold_alone():
    assert filled("{text} ({text_pair}) {mask}", "a {mask} {text}", "b", "<m>") == "a {mask} {text} (b) <m>"
    assert filled("{text} {mask}", "a <m> b", mask="<m>") == "a  b <m>"


@pytest.mark.parametrize("room", [40, 21, 12, 11, 10])
def test_a_template_stays_whole_when_its_text_is_cut(room):
    tokenizer, long = byte_level(), "once upon a time in Paris " * 3
    ids, whole = filled_ids(tokenizer, "so {text} it was{mask}.", long, "<mask>", room)
    assert len(ids) <= room < whole and ids[0] == 0 and ids.count(1) == 1
    text = tokenizer.decode(ids)
    assert text.startswith("so ") and text.endswith(" it was.")
    middle = text.removeprefix("so ").removesuffix(" it was.")
    assert long.startswith(middle) and len(middle) >= room - 10


def test_of_a_pair_the_longer_text_is_cut_first_and_a_template_that_does_not_fit_comes_back_too_long():
    tokenizer = word_piece()
    ids, whole = filled_ids(tokenizer, "{text} [MASK] {text_pair}", ("dry", "bird tall green bird tall green"), "", 8)
    assert len(ids) <= 8 < whole and tokenizer.decode(ids).startswith("dry")
    ids, _ = filled_ids(tokenizer, "once upon a time {text}", "dry", "", 3)
    assert len(ids) > 3
