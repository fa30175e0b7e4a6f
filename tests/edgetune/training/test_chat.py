"""Chats through templates as models ship them: ChatML, and one that takes turns in order alone."""

import pytest

from edgetune.data.rows import Conversation
from edgetune.errors import DataError
from edgetune.training.examples import generation_examples

from ..tiny import WORDS, base_of

CHATML = (
    "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}"
    "{{ '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}"
    "{% else %}{% set rest = messages %}{% endif %}"
    "{% for message in rest %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] | trim + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
IN_ORDER = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + message['content'] + ' ' + eos_token }}{% endif %}{% endfor %}"
)
MARKS = ["<|im_start|>", "<|im_end|>", "[INST]", "[/INST]", "system", "user", "assistant"]


@pytest.fixture
def chat():
    """`chat(template, (role, content), …)`: each token with whether the loss is on it."""

    def example(template, *turns):
        base = base_of("llama")
        base.tokenizer.add_tokens(MARKS)
        base.tokenizer.chat_template = template
        row = Conversation(tuple({"role": role, "content": content} for role, content in turns), line=3)
        (found,) = generation_examples(base, [row], None, "chats.jsonl")
        assert len(found.input_ids) == len(found.completion)
        names = [*WORDS, *MARKS]
        return [(names[i], on) for i, on in zip(found.input_ids, found.completion)]

    return example


def learned(tokens):
    return [token for token, on in tokens if on]


def test_the_loss_is_on_the_assistants_words_and_the_end_of_its_turn(chat):
    found = chat(CHATML, ("system", "w9"), ("user", "w1 w2"), ("assistant", "w3 w4"))
    assert [token for token, _ in found] == [
        "<|im_start|>", "system", "w9", "<|im_end|>", "<|im_start|>", "user", "w1", "w2", "<|im_end|>",
        "<|im_start|>", "assistant", "w3", "w4", "<|im_end|>",
    ]  # fmt: skip
    assert learned(found) == ["w3", "w4", "<|im_end|>"]


def test_every_turn_of_the_assistant_is_learned_and_none_of_the_user(chat):
    turns = [("user", "w1"), ("assistant", "w3"), ("user", "w5"), ("assistant", "w7"), ("user", "w8")]
    assert learned(chat(CHATML, *turns)) == ["w3", "<|im_end|>", "w7", "<|im_end|>"]


def test_a_template_without_a_prompt_for_the_answer_ends_turns_with_its_own_token(chat):
    turns = [("user", "w1"), ("assistant", "w3"), ("user", "w5"), ("assistant", "w7 w8")]
    assert learned(chat(IN_ORDER, *turns)) == ["w3", "</s>", "w7", "w8", "</s>"]


def test_what_a_template_refuses_is_told_with_the_row(chat):
    with pytest.raises(DataError, match=r"^chats\.jsonl:3: the chat template .*: Conversation roles must alternate"):
        chat(IN_ORDER, ("user", "w1"), ("user", "w2"), ("assistant", "w3"))


def test_a_template_that_is_broken_is_told(chat):
    with pytest.raises(DataError, match=r"^chats\.jsonl:3: the chat template does not take these turns"):
        chat("{% for x in messages %}{{ x.content", ("user", "w1"), ("assistant", "w3"))
