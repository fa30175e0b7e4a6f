"""Templates are rendered as transformers renders them, and stay in their sandbox."""

import sys

import pytest
from edgetune_runtime import BundleError, InputError, MissingExtraError
from edgetune_runtime.chat_template import ChatTemplate, read_chat_template
from references.chat_templates import TEMPLATES

jinja2 = pytest.importorskip("jinja2")
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def said(*contents, system=None, first="user"):
    roles = ("user", "assistant") if first == "user" else ("assistant", "user")
    rest = [{"role": roles[i % 2], "content": x} for i, x in enumerate(contents)]
    return ([{"role": "system", "content": system}] if system is not None else []) + rest


CONVERSATIONS = {
    "one": said("Hi"),
    "two": said("Hi", "Hello!", "How are you?"),
    "system": said("Hi", system="Be brief."),
    "long": said(
        " Hi \n", "<think>\nhm\n</think>\n\nHello ", "é 日本 🙂 'q' \"d\" <b>&", "", "{{ 7 * 7 }}", system=" A\n\nB "
    ),
    "twice": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
    "greeting": said("Welcome", "Hi", first="assistant"),
    "tool": [*said("Hi", "Hello"), {"role": "tool", "content": "3"}],
    "ends with the assistant": said("Hi", "Hello"),
}


@pytest.fixture(scope="module")
def reference():
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models

    inner = Tokenizer(models.WordLevel({"<s>": 0, "</s>": 1, "<unk>": 2}, unk_token="<unk>"))
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, **TOKENS)


@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("name", TEMPLATES)
def test_a_conversation_is_written_as_transformers_writes_it(name, conversation, reference):
    messages, source = CONVERSATIONS[conversation], TEMPLATES[name]
    template = ChatTemplate(source, TOKENS)
    try:
        expected = reference.apply_chat_template(
            messages, chat_template=source, tokenize=False, add_generation_prompt=True
        )
    except jinja2.TemplateError as error:
        with pytest.raises(InputError) as refused:
            template.rendered(messages)
        assert str(error) in str(refused.value)
        return
    assert template.rendered(messages) == expected


def test_most_templates_take_most_conversations(reference):
    refused = []
    for name, source in TEMPLATES.items():
        for conversation, messages in CONVERSATIONS.items():
            try:
                ChatTemplate(source, TOKENS).rendered(messages)
            except InputError:
                refused.append((name, conversation))
    assert 0 < len(refused) < len(TEMPLATES) * len(CONVERSATIONS) / 5


ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ cycler.__init__.__globals__.os }}",
    "{{ raise_exception.__globals__ }}",
    "{{ strftime_now.__globals__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ dict.__class__.__base__ }}",
    "{{ ''|attr('__class__') }}",
    "{{ '{0.__class__.__init__.__globals__}'.format(messages) }}",
    "{{ self.__init__.__globals__ }}",
    "{{ lipsum.__globals__ }}",
    "{{ messages.append({'role': 'user', 'content': 'x'}) }}",
    "{{ messages[0].update({'content': 'x'}) }}",
    "{{ messages.clear() }}",
    "{% set ns = namespace(__class__=dict) %}{{ ns.x }}",
    "{% set ns = namespace() %}{% set ns.__class__ = dict %}{{ ns.x }}",
    "{% for i in range(10**9) %}{% endfor %}",
    "{% include '/etc/passwd' %}",
    "{% import '/etc/passwd' as x %}",
    "{{ 1 / 0 }}",
    "{{ 'a' + 1 }}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
]


@pytest.mark.parametrize("source", ESCAPES)
def test_a_template_does_not_leave_its_sandbox_and_fails_with_an_error_of_ours(source):
    messages = said("Hi")
    try:
        text = ChatTemplate(source, TOKENS).rendered(messages)
    except InputError as error:
        assert "the chat template" in str(error)
    else:
        assert text == "", text
    assert messages == said("Hi")


def test_what_is_no_template_is_named():
    with pytest.raises(BundleError, match=r"the chat template: is no jinja template"):
        ChatTemplate("{% if %}", TOKENS).rendered(said("Hi"))


def test_without_jinja_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r"edgetune-runtime\[chat\]"):
        ChatTemplate("x", TOKENS).rendered(said("Hi"))


def test_an_old_jinja_whose_sandbox_leaks_is_refused(monkeypatch):
    monkeypatch.setattr(jinja2, "__version__", "3.1.5")
    with pytest.raises(MissingExtraError, match=r"3\.1\.6 or later, and 3\.1\.5"):
        ChatTemplate("x", TOKENS).rendered(said("Hi"))


def test_a_file_is_read_as_it_is(tmp_path):
    path = tmp_path / "chat_template.jinja"
    path.write_bytes("é\r\n{{ bos_token }}".encode())
    assert read_chat_template(path, TOKENS).source == "é\r\n{{ bos_token }}"
    path.write_bytes(b"\xff")
    with pytest.raises(BundleError, match=r"chat_template\.jinja"):
        read_chat_template(path, TOKENS)
