"""Rows become tokens; what does not fit is cut with a warning or refused with numbers."""

import logging

import pytest

from edgetune.data.rows import Conversation, LabelledText, PromptCompletion
from edgetune.errors import ConfigError, DataError
from edgetune.training.examples import class_examples, generation_example, generation_examples, text_limit

from ..tiny import BOS, CLS, EOS, SEP, WORDS, base_of

TEMPLATE = (
    "{% for m in messages %}{{ 'w50' if m['role'] == 'user' else 'w51' if m['role'] == 'assistant' else 'w52' }} "
    "{{ m['content'] }} </s> {% endfor %}{% if add_generation_prompt %}w51 {% endif %}"
)


def ids(text):
    return [WORDS.index(word) for word in text.split()]


@pytest.fixture
def chat_base():
    base = base_of("llama")
    base.tokenizer.chat_template = TEMPLATE
    return base


def messages(*turns):
    return Conversation(tuple({"role": role, "content": content} for role, content in turns), line=3)


def test_a_class_example_is_what_the_tokenizer_gives(base):
    rows = [LabelledText("w1 w2", "b"), LabelledText("w3", "a", text_pair="w4 w5")]
    one, two = class_examples(base("bert"), rows, [1, 0], None)
    assert (one.input_ids, one.label) == ([CLS, *ids("w1 w2"), SEP], 1)
    assert (two.input_ids, two.label) == ([CLS, *ids("w3"), SEP, *ids("w4 w5"), SEP], 0)


def test_long_texts_are_cut_to_the_limit_with_one_warning(base, caplog):
    rows = [LabelledText("w1 " * n, "a") for n in (3, 9, 20, 6)]
    with caplog.at_level(logging.WARNING):
        found = class_examples(base("bert"), rows, [0] * 4, 8)
    assert [len(e.input_ids) for e in found] == [5, 8, 8, 8]
    assert all(e.input_ids[0] == CLS and e.input_ids[-1] == SEP for e in found)
    (record,) = caplog.records
    assert record.getMessage() == "2 of 4 texts are longer than 8 tokens (up to 22) and were cut"


def test_texts_that_fit_are_cut_without_a_word(base, caplog):
    class_examples(base("bert"), [LabelledText("w1 " * 6, "a")], [0], 8)
    assert not caplog.records


def test_both_texts_of_a_long_pair_keep_their_separators(base):
    (found,) = class_examples(base("bert"), [LabelledText("w1 " * 9, "a", text_pair="w2 " * 9)], [0], 9)
    assert found.input_ids == [CLS, *ids("w1 w1 w1"), SEP, *ids("w2 w2 w2"), SEP]


def test_the_limit_is_what_virtual_tokens_leave(base):
    assert text_limit(base("bert"), 20) == 44
    assert text_limit(base("roberta"), 20) == 42
    assert text_limit(base("bert"), 20, max_length=30) == 30
    assert text_limit(base("bert"), 20, max_length=60) == 44


def test_no_room_for_text_is_refused_with_the_numbers(base):
    with pytest.raises(ConfigError, match=r"63 virtual tokens leave no room.* holds 64 positions"):
        text_limit(base("bert"), 63)
    assert text_limit(base("bert"), 62) == 2


def test_a_completion_is_tokenised_on_its_own_and_ends_with_the_end_token(base):
    found = generation_example(base("llama"), PromptCompletion("w1 w2", "w3 w4"))
    assert found.input_ids == [BOS, *ids("w1 w2 w3 w4"), EOS]
    assert found.completion == (False, False, False, True, True, True)


def test_only_the_assistants_words_and_their_end_carry_loss(chat_base):
    row = messages(("system", "w1"), ("user", "w2"), ("assistant", "w3 w4"), ("user", "w5"), ("assistant", "w6"))
    found = generation_example(chat_base, row)
    carried = [WORDS[i] for i, on in zip(found.input_ids, found.completion) if on]
    turns = ["w52 w1 </s>", "w50 w2 </s>", "w51 w3 w4 </s>", "w50 w5 </s>", "w51 w6 </s>"]
    assert [WORDS[i] for i in found.input_ids if i != BOS] == " ".join(turns).split()
    assert carried == ["w3", "w4", "</s>", "w6", "</s>"]


def test_turns_after_the_last_answer_teach_nothing(chat_base):
    whole = generation_example(chat_base, messages(("user", "w2"), ("assistant", "w3")))
    assert generation_example(chat_base, messages(("user", "w2"), ("assistant", "w3"), ("user", "w9"))) == whole


def test_a_chat_without_a_template_is_refused(base):
    with pytest.raises(ConfigError, match="'tiny-llama' has no chat template; use rows with prompt and completion"):
        generation_example(base("llama"), messages(("user", "w2"), ("assistant", "w3")))


def test_a_template_that_rewrites_earlier_turns_is_refused(chat_base):
    chat_base.tokenizer.chat_template = "{{ messages[-1]['content'] }} </s>"
    with pytest.raises(ConfigError, match="rewrites earlier turns"):
        generation_example(
            chat_base, messages(("user", "w1"), ("assistant", "w2"), ("user", "w3"), ("assistant", "w4"))
        )


def test_a_row_too_long_to_generate_is_refused_with_the_numbers(base):
    rows = [PromptCompletion("w1", "w2", line=1), PromptCompletion("w1 " * 30, "w2 " * 20, line=2)]
    with pytest.raises(DataError) as caught:
        generation_examples(base("llama"), rows, text_limit(base("llama"), 20), "rows.jsonl")
    message = str(caught.value)
    assert message.startswith("rows.jsonl:2: 52 tokens, but 'tiny-llama' holds 64 positions")
    assert "leave 44" in message and "\n" not in message


def test_a_row_that_just_fits_is_taken(base):
    (found,) = generation_examples(base("llama"), [PromptCompletion("w1 " * 30, "w2 " * 12)], 44, "rows.jsonl")
    assert len(found.input_ids) == 44


def test_a_prompt_without_a_token_is_refused():
    llama = base_of("gpt2")
    llama.tokenizer._tokenizer.post_processor = type(llama.tokenizer._tokenizer.post_processor)(
        single="$A", pair=None, special_tokens=[]
    )
    with pytest.raises(DataError, match=r"rows\.jsonl:4: the prompt gives no tokens"):
        generation_examples(llama, [PromptCompletion("\n", "w2", line=4)], 44, "rows.jsonl")


def test_virtual_tokens_after_the_text_stand_between_prompt_and_completion_and_carry_no_loss(base):
    row = PromptCompletion("w1 w2", "w3 w4")
    plain, (found,) = generation_example(base("llama"), row), generation_examples(base("llama"), [row], 6, "f", 2)
    at, size = plain.completion.index(True), base("llama").vocab_size
    assert found.input_ids == [*plain.input_ids[:at], size, size + 1, *plain.input_ids[at:]]
    assert found.completion == (*plain.completion[:at], False, False, *plain.completion[at:])


def test_the_limit_is_on_the_text_alone(base):
    row = PromptCompletion("w1 w2", "w3 w4")
    length = len(generation_example(base("llama"), row).input_ids)
    assert generation_examples(base("llama"), [row], length, "f", 9)
    with pytest.raises(DataError, match=f"{length} tokens"):
        generation_examples(base("llama"), [row], length - 1, "f", 9)


def test_a_chat_of_several_turns_has_no_one_place_after_the_text(chat_base):
    one = messages(("user", "w1"), ("assistant", "w2"))
    two = messages(("user", "w1"), ("assistant", "w2"), ("user", "w3"), ("assistant", "w4"))
    assert generation_examples(chat_base, [one], None, "f", 1) and generation_examples(chat_base, [two], None, "f")
    with pytest.raises(DataError, match=r"f:3: the chat has several turns.*give one turn per row"):
        generation_examples(chat_base, [two], None, "f", 1)
