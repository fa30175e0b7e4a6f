"""Whatever is typed is answered, or refused with a reason: it never crashes, and takes memory in proportion."""

import edgetune_runtime
import pytest
from edgetune_runtime import ContextLengthError, EdgetuneError
from references.limits import MEGABYTE, outcome_of

from .conftest import GOLDEN

TEXTS = {
    "nothing": "",
    "spaces": " \t\n\r\u00a0\u3000",
    "a lone surrogate": "a\ud800b\udfff",
    "surrogates the wrong way round": "\udc00\ud800",
    "control characters": "".join(map(chr, range(32))) + "\x7f\x80\x9f",
    "no characters": "\ufffe\uffff\U0010ffff",
    "right to left": "\u202e\u05e9\u05dc\u05d5\u05dd\u2066abc\u2069",
    "marks upon marks": "a" + "\u0301" * 500,
    "joined faces": "\U0001f468\u200d\U0001f469\u200d\U0001f467" * 20,
    "special tokens": "<s></s><unk>[CLS][SEP][MASK]<|im_end|><|endoftext|>",
    "a byte order mark": "\ufeffa",
    "a template's places": "{text}{mask}{text_pair}{{ messages }}{% for %}",
}


@pytest.fixture(scope="module")
def encoder():
    return edgetune_runtime.load(GOLDEN / "encoder-shared", threads=1)


@pytest.fixture(scope="module")
def decoder():
    return edgetune_runtime.load(GOLDEN / "decoder-shared", threads=1)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_any_text_is_answered(encoder, decoder, text):
    found = encoder.classify([text, (text, "a"), ("a", text)])
    assert all(x.label in x.scores for x in found)
    try:
        assert decoder.generate(text, max_new_tokens=2).finish_reason in ("length", "eos")
        decoder.score("a", [text + "a"])
    except ContextLengthError:
        assert len(text) > 30


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_any_text_is_said_in_a_conversation(decoder, text):
    pytest.importorskip("jinja2")
    talk = decoder.chat(template="{% for m in messages %}{{ m.content }}{% endfor %}", max_new_tokens=1)
    try:
        talk.send(text)
    except EdgetuneError as error:
        assert isinstance(error, ContextLengthError) or not text
        return
    assert talk.messages[0]["content"] == text


@pytest.mark.parametrize(
    "piece, megabytes",
    [("a b ", 1), ("a", 0.25), ("</s>", 0.25), ("\u05e9", 0.25), ("\U0001f642", 0.25), ("\ud800", 0.25)],
)
def test_long_texts_are_cut_or_refused_in_proportionate_memory(encoder, decoder, piece, megabytes):
    text = piece * (int(megabytes * MEGABYTE) // len(piece.encode("utf-8", "surrogatepass")))
    cut = outcome_of(lambda: encoder.classify(text))
    assert cut.error is None and cut.peak_bytes < (64 + 800 * megabytes) * MEGABYTE, cut
    refused = outcome_of(lambda: decoder.generate(text))
    assert isinstance(refused.error, ContextLengthError), repr(refused.error)
    assert refused.peak_bytes < (64 + 800 * megabytes) * MEGABYTE, refused.peak_bytes
