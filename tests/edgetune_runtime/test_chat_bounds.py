# ruff: noqa: E501
"""Chat templates that loop, repeat or grow without end stop, in little time and memory; those of chat models do not."""

import pytest
from edgetune_runtime import EdgetuneError
from edgetune_runtime.chat_template import ChatTemplate
from references.chat_templates import TEMPLATES
from references.hostile import HOSTILE, text_of
from references.limits import MEGABYTE, outcome_of

pytest.importorskip("jinja2")
MESSAGES = [{"role": "user", "content": "hi"}]
BOMBS = {
    "nested loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "repeat": "{{ 'a' * 999999999 }}",
    "power": "{{ 10 ** 99999999 }}",
    "power small steps": "{% set ns = namespace(x=9) %}{% for i in range(99) %}{% set ns.x = ns.x ** 9 %}{% endfor %}{{ ns.x }}",
    "product": "{% set ns = namespace(x=99999) %}{% for i in range(99999) %}{% set ns.x = ns.x * ns.x %}{% endfor %}",
    "concat": "{% set ns = namespace(x='aaaaaaaaaa') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
    "plus": "{% set ns = namespace(x='aaaaaaaaaa') %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
    "list plus": "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
    "block": "{% set ns = namespace(x='aaaaaaaaaa') %}{% for i in range(99) %}{% set b %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = b %}{% endfor %}",
    "join": "{% set ns = namespace(x='aaaaaaaaaa') %}{% for i in range(99) %}{% set ns.x = [ns.x, ns.x]|join %}{% endfor %}",
    "join method": "{% set ns = namespace(x='aaaaaaaaaa') %}{% for i in range(99) %}{% set ns.x = ns.x.join([ns.x, ns.x]) %}{% endfor %}",
    "join long": "{% set x = 'a' * 99999 %}{{ x.join(range(99999)|map('string')|list)|length }}",
    "replace": "{% set x = 'a' * 99999 %}{{ x.replace('a', x)|length }}",
    "replace filter": "{% set x = 'a' * 99999 %}{{ x|replace('a', x)|length }}",
    "replace empty": "{% set x = 'a' * 99999 %}{{ x.replace('', x)|length }}",
    "center": "{{ 'a'.center(999999999)|length }}",
    "center filter": "{{ 'a'|center(999999999)|length }}",
    "ljust": "{{ 'a'.ljust(width=999999999)|length }}",
    "zfill": "{% for i in range(9999) %}{{ 'a'.zfill(99999)|length }}{% endfor %}",
    "format": "{{ '%999999999d' % 1 }}",
    "format filter": "{{ '%999999999d'|format(1) }}",
    "format method": "{{ '{:999999999}'.format(1) }}",
    "format star": "{{ '%*d' % (999999999, 1) }}",
    "format many": "{% set x = '%99999d' * 999 %}{{ x % range(999)|list }}",
    "format tuple": "{{ ('%99999d' * 2000)|format(*range(2000)) }}",
    "indent": "{{ ('a\n' * 99999)|indent(99999) }}",
    "tojson": "{{ [[[[[[1]]]]]]|tojson(indent=999999999) }}",
    "tojson many": "{{ range(99999)|list|tojson(indent=99999) }}",
    "expandtabs": "{{ ('\t' * 99999).expandtabs(99999)|length }}",
    "lipsum": "{{ lipsum(999999) }}",
    "recursive": "{% for x in range(9999) recursive %}{{ loop(range(9999)) }}{% endfor %}",
    "macro": "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "macro deep": "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(60) }}",
    "text in a loop": "{% set x %}{% for i in range(99999) %}" + "a" * 50000 + "{% endfor %}{% endset %}",
    "batch": "{% for i in range(99999) %}{{ range(99999)|batch(1)|list|length }}{% endfor %}",
    "list": "{% for i in range(99999) %}{{ range(99999)|list|length }}{% endfor %}",
    "sum": "{% for i in range(99999) %}{{ range(99999)|sum }}{% endfor %}",
    "in": "{% set x = 'a' * 999 * 999 %}{% for i in range(99999) %}{{ 'b' in x }}{% endfor %}",
    "deep": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "deep if": "{% if 1 %}" * 3000 + "{% endif %}" * 3000,
    "deep list": "{{ " + "[" * 5000 + "]" * 5000 + " }}",
    "many": "{{ 1 }}" * 20000,
    "loop var": "{% for c in 'a' * 99999 %}{{ loop.length }}{{ loop.revindex }}{% endfor %}",
    "split": "{{ ('a ' * 99999 * 9).split(' ')|length }}",
    "sort": "{% for i in range(999) %}{{ range(99999)|sort|first }}{% endfor %}",
    "filter in place": "{{ range(99999)|map('center', 99999)|list|length }}",
    "select": "{{ range(99999)|map('string')|map('center', 9999)|join|length }}",
    "dict": "{% set ns = namespace(x={}) %}{% for i in range(99) %}{% set ns.x = dict(a=ns.x, b=ns.x) %}{% endfor %}{{ ns.x }}",
    "dict string": "{% set ns = namespace(x=[]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x|string|length }}",
    "dict json": "{% set ns = namespace(x=[]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x|tojson|length }}",
    "dict format": "{% set ns = namespace(x=[]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ '%s' % ns.x }}",
    "equal": "{% set ns = namespace(x=[], y=[]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}",
    "concat nested": "{% set ns = namespace(x=[]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ 'a' ~ ns.x }}",
}


@pytest.mark.parametrize("source", BOMBS.values(), ids=BOMBS)
def test_a_template_that_does_too_much_is_refused_in_little_memory(source):
    found = outcome_of(lambda: ChatTemplate(source, {}).rendered(MESSAGES))
    assert isinstance(found.error, EdgetuneError), repr(found.error)
    assert found.peak_bytes <= 64 * MEGABYTE


@pytest.mark.parametrize("name", HOSTILE["templates"])
def test_what_every_language_refuses_is_refused(name):
    source = text_of(HOSTILE["templates"][name])
    found = outcome_of(lambda: ChatTemplate(source, {}).rendered(MESSAGES))
    assert isinstance(found.error, EdgetuneError), repr(found.error)
    assert found.peak_bytes <= 64 * MEGABYTE


def test_a_template_may_do_what_templates_do_with_long_texts():
    long = [{"role": role, "content": "a b\n <c> " * 50_000} for role in ("user", "assistant", "user")]
    source = "{% for m in messages %}{{ m.content|trim ~ m.content.split('</t>')[-1] + m.content|replace('<', '&lt;') }}{% endfor %}"
    assert len(ChatTemplate(source, {}).rendered(long)) > 3 * 3 * 400_000
    for source in TEMPLATES.values():
        found = outcome_of(lambda source=source: ChatTemplate(source, {"bos_token": "<s>"}).rendered(long))
        assert found.error is None or "more than a chat template may" not in str(found.error)


def test_a_template_may_loop_over_a_long_conversation():
    many = [{"role": ("user", "assistant")[i % 2], "content": "hello"} for i in range(4_001)]
    source = "{% for m in messages %}{{ loop.index0 ~ (m.role == 'user') ~ loop.last }}{% for x in [1, 2] %}{{ x }}{% endfor %}{% endfor %}"
    assert ChatTemplate(source, {}).rendered(many).startswith("0TrueFalse12")


def test_threads_have_budgets_of_their_own():
    from concurrent.futures import ThreadPoolExecutor

    template = ChatTemplate("{% for i in range(20000) %}{{ i }}{% endfor %}", {})
    with ThreadPoolExecutor(8) as pool:
        assert len({len(x) for x in pool.map(lambda _: template.rendered(MESSAGES), range(24))}) == 1
