"""Of a text that is far too long the beginning is read, and it has the tokens that the whole text begins with."""

import json
import random
import shutil

import edgetune_runtime
import pytest
import tokenizers
from edgetune_runtime import ContextLengthError
from edgetune_runtime.long_texts import PATTERNS, beginning, most_characters, splits_at_words
from edgetune_runtime.tokenizer import Tokenizer
from references.control_tokens import MADE, made
from references.limits import MEGABYTE, outcome_of

from .conftest import GOLDEN

PIECES = [
    *"abcxyz", "the ", "don't ", "x", " ", "  ", "\n", "\t", ".", ",", "!?", "'s", "-", "7", "42", "\u00e9", "e\u0301",
    "\u05e9\u05dc\u05d5\u05dd", "\u4f60\u597d", "\uff0c", "\U0001f642", "\u0130", "\u03a3", "<", "|", "</s>", "<unk>",
    "\u202e", "\x00", "\u0e01", "\uac00", "A", "B",
]  # fmt: skip


def tokenizer_like(name, **parts):
    """A tokenizer for tests with other parts."""
    return tokenizers.Tokenizer.from_str(json.dumps({**json.loads(made(name).to_str()), **parts}))


def split(pattern):
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    rule = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [rule, byte_level]}


KNOWN = {
    "byte level": made("byte level"),
    "word pieces": made("word pieces"),
    **{f"pattern {i}": tokenizer_like("byte level", pre_tokenizer=split(x)) for i, x in enumerate(PATTERNS)},
    "digits": tokenizer_like("byte level", pre_tokenizer={"type": "Sequence", "pretokenizers": [
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}]}),
    "composed": tokenizer_like("byte level", normalizer={"type": "NFC"}),
}  # fmt: skip


def text_of(rng, length):
    text = ""
    while len(text) < length:
        text += "".join(rng.choices(PIECES, k=40))
    return text


@pytest.mark.parametrize("name", KNOWN)
def test_the_tokens_of_a_beginning_are_those_that_the_whole_text_begins_with(name):
    inner, rng, cuts = KNOWN[name], random.Random(3), 0
    assert splits_at_words(inner)
    for _ in range(12):
        tokens, text = rng.randrange(1, 40), text_of(rng, rng.choice((4_000, 9_000)))
        found = beginning(inner, text, tokens)
        assert text.startswith(found)
        if found == text:
            continue
        cuts += 1
        whole = inner.encode(text, add_special_tokens=False).ids
        ids = inner.encode(found, add_special_tokens=False).ids
        assert whole[: len(ids)] == ids and len(ids) > tokens
        behind = inner.encode("abc" + found + "\u00e9", add_special_tokens=False).ids
        assert len(behind) > tokens, "wherever it stands"
    assert cuts > 3


@pytest.mark.parametrize("name", KNOWN)
def test_cuts_are_the_same_with_a_beginning_and_without(name, monkeypatch):
    rng, found = random.Random(4), Tokenizer(KNOWN[name])
    texts = [text_of(rng, 9_000) for _ in range(3)]
    texts[0] = "plain words without any tokens of control, " * 200
    quick = [(found.encode_within(x, 20), found.encode_with_spans(x, 20)) for x in texts]
    monkeypatch.setattr(Tokenizer, "beginning", lambda self, text, tokens: text)
    for text, ((ids, length), (spanned, spans, _)) in zip(texts, quick):
        whole, (same, places, count) = found.encode_within(text, 20), found.encode_with_spans(text, 20)
        assert ids == whole[0] and 20 < length <= whole[1]
        assert (spanned, spans) == (same, places) and count > 20


def test_others_are_read_whole():
    for name in set(MADE) - set(KNOWN):
        assert not splits_at_words(made(name))
    strange = [
        {"pre_tokenizer": split(r"\w+\s*")},
        {"normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "_"}},
        {"pre_tokenizer": None},
        {"pre_tokenizer": {**split(PATTERNS[0])["pretokenizers"][0], "behavior": "Removed"}},
    ]
    for parts in strange:
        assert not splits_at_words(tokenizer_like("byte level", **parts))
    spaced = made("byte level")
    spaced.add_special_tokens([tokenizers.AddedToken("a b")])
    assert not splits_at_words(spaced)


def test_a_token_stands_for_no_more_characters_than_is_said():
    inner = made("byte level")
    most = most_characters(inner)
    assert most == max(len(inner.decode([i], skip_special_tokens=False)) for i in inner.get_vocab().values())
    assert most_characters(KNOWN["composed"]) == 4 * most
    assert most_characters(made("word pieces")) is None
    widening = made("byte level")
    widening.add_special_tokens([tokenizers.AddedToken("<wide>", lstrip=True)])
    assert most_characters(widening) is None
    found, rng = Tokenizer(inner), random.Random(5)
    for text in [text_of(rng, 3_000) for _ in range(20)] + ["a" * 3_000, " " * 3_000]:
        count = len(found.encode(text, add_special_tokens=False))
        for tokens in (1, 5, 20):
            assert not found.exceeds(text, tokens) or count > tokens
    assert found.exceeds("a" * 3_000, 5) and not found.exceeds("a" * 3_000, 3_000) and not found.exceeds("a" * 9, None)


@pytest.mark.parametrize("piece", ["word and word, ", "\u05e9\u05dc\u05d5\u05dd abc. ", "\u4f60\u597d\uff0c"])
def test_ten_megabytes_are_cut_or_refused_in_little_memory(piece):
    text = piece * (10 * MEGABYTE // len(piece.encode()))
    encoder = Tokenizer(made("word pieces"))
    cut = outcome_of(lambda: encoder.encode_within(text, 512))
    assert cut.error is None and cut.peak_bytes < 100 * MEGABYTE, cut


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """A decoder whose tokenizer splits at words."""
    folder = shutil.copytree(GOLDEN / "decoder-shared", tmp_path_factory.mktemp("long") / "bundle")
    text = made("byte level").to_str()
    (folder / "tokenizer.json").write_text(text, "utf-8")
    manifest = json.loads((folder / "bundle.json").read_text("utf-8"))
    manifest["files"]["tokenizer.json"]["size_bytes"] = len(text.encode())
    (folder / "bundle.json").write_text(json.dumps(manifest), "utf-8")
    return edgetune_runtime.load(folder, threads=1, verify=False)


@pytest.mark.parametrize(
    "piece, words", [("word and word, ", "positions"), ("a", "characters"), ("\u05e9", "characters")]
)
def test_ten_megabytes_for_a_generator_are_refused(reader, piece, words):
    text = piece * (10 * MEGABYTE // len(piece.encode()))
    refused = outcome_of(lambda: reader.generate(text, max_new_tokens=1))
    assert isinstance(refused.error, ContextLengthError) and words in str(refused.error), repr(refused.error)
    assert refused.peak_bytes < 100 * MEGABYTE, refused.peak_bytes


def test_a_conversation_refuses_what_can_never_fit(reader):
    pytest.importorskip("jinja2")
    for overflow in ("refuse", "slide"):
        talk = reader.chat(template="{% for m in messages %}{{ m.content }}{% endfor %}", overflow=overflow)
        refused = outcome_of(lambda talk=talk: talk.send("word and word, " * 700_000))
        assert isinstance(refused.error, ContextLengthError), repr(refused.error)
        assert refused.peak_bytes < 200 * MEGABYTE, refused.peak_bytes
