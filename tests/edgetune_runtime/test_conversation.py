"""Conversations: every answer is that of the whole conversation computed at once, and only new tokens are computed."""

import asyncio
import gc
import importlib.util
import itertools
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import edgetune_runtime
import pytest
from edgetune_runtime import ContextLengthError, ConversationError, InputError, OptionError, TaskError
from edgetune_runtime.chat_template import ChatTemplate
from references.chat_templates import TEMPLATES

pytest.importorskip("jinja2")

SHORT = """{{ bos_token }}{% for m in messages %}{{ m.role[0] }}: {{ m.content }}
{% endfor %}a:"""
TEXTS = ["once upon", "will it rain", "why", "the tree by the sea", "no", "I am so happy"]
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


def choices_of(model):
    return [*model.adapters] + ([None] if model.manifest.form == "shared" else [])


def asked(conversation, text):
    return [*conversation.messages, {"role": "user", "content": text}]


def ids_of(model, messages, source=SHORT):
    text = ChatTemplate(source, TOKENS).rendered(messages)
    return model.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=False)


def anew(model, messages, source=SHORT, **options):
    """The answer to the whole conversation, nothing of it known before."""
    return model.generate(ids_of(model, messages, source), **options)


def outcome(generation):
    return generation.text, generation.token_ids, generation.finish_reason


class Counted:
    """Counts the tokens that go through a decoder's graph."""

    def __init__(self, decoder, monkeypatch):
        self.tokens = 0
        prefill, extend, step = decoder.prefill, decoder.extend, decoder.step
        monkeypatch.setattr(decoder, "prefill", lambda rows, *a: self.add(sum(map(len, rows)), prefill, rows, *a))
        monkeypatch.setattr(decoder, "extend", lambda ids, *a: self.add(len(ids), extend, ids, *a))
        monkeypatch.setattr(decoder, "step", lambda ids, *a: self.add(len(ids), step, ids, *a))

    def add(self, count, function, *arguments):
        self.tokens += count
        return function(*arguments)


@pytest.mark.parametrize("source", [SHORT, *(TEMPLATES[x] for x in ("llama_2", "zephyr", "mistral", "alpaca"))])
def test_every_answer_is_that_of_the_whole_conversation(decoder, source):
    for name in choices_of(decoder):
        conversation, turns = decoder.chat(adapter=name, template=source, max_new_tokens=5), 0
        for text in TEXTS:
            messages = asked(conversation, text)
            try:
                found = conversation.send(text)
            except ContextLengthError:
                break
            assert outcome(found) == outcome(anew(decoder, messages, source, adapter=name, max_new_tokens=5))
            assert conversation.messages == [*messages, {"role": "assistant", "content": found.text}]
            turns += 1
        assert turns >= 2


@pytest.fixture(scope="module")
def torch_base():
    pytest.importorskip("edgetune_export")
    path = Path(__file__).parents[1] / "golden" / "make.py"
    spec = importlib.util.spec_from_file_location("golden_make", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.decoder_base()


@pytest.mark.parametrize("name", ["short", "llama_2", "mistral", "zephyr", "alpaca"])
def test_every_answer_is_that_of_transformers(loaded, torch_base, name):
    import torch

    source = TEMPLATES.get(name, SHORT)
    model = loaded(Path(__file__).parents[1] / "golden" / "decoder-shared")
    assert model.manifest.base.fingerprint == torch_base.fingerprint
    conversation, turns = model.chat(adapter=None, template=source, max_new_tokens=6), 0
    for text in TEXTS:
        given = torch_base.tokenizer.apply_chat_template(
            asked(conversation, text), chat_template=source, add_generation_prompt=True, return_tensors="pt",
            return_dict=True,
        )  # fmt: skip
        count = given["input_ids"].shape[1]
        if count + 6 > 128:
            break
        with torch.no_grad():
            written = torch_base.model.generate(
                **given, do_sample=False, max_new_tokens=6, eos_token_id=1, pad_token_id=0
            )[0, count:].tolist()
        written = written[: written.index(1)] if 1 in written else written
        found = conversation.send(text)
        assert found.token_ids == written
        assert found.text == torch_base.tokenizer.decode(written, skip_special_tokens=True)
        turns += 1
    assert turns >= 2


def test_a_turn_computes_what_the_cache_does_not_hold_and_nothing_else(decoder, monkeypatch):
    counted = Counted(decoder.decoder, monkeypatch)
    conversation, held = decoder.chat(template=SHORT, max_new_tokens=4), []
    for text in TEXTS[:4]:
        ids = ids_of(decoder, asked(conversation, text))
        known = next((i for i, (a, b) in enumerate(zip(held, ids)) if a != b), min(len(held), len(ids)))
        counted.tokens = 0
        found = conversation.send(text)
        written = found.token_ids if found.finish_reason == "eos" else found.token_ids[:-1]
        assert counted.tokens == len(ids) - known + len(written)
        held = ids + written
        assert conversation.token_count == len(held)
        virtual = decoder.adapters[conversation.adapter].virtual_tokens
        assert conversation.positions == len(held) + virtual


def test_where_answers_are_tokenised_as_they_were_written_history_costs_nothing(decoder, monkeypatch):
    pytest.importorskip("llguidance")
    source = "{% for m in messages %}{{ m.role[0] }}:{{ m.content }}\n{% endfor %}a:"
    conversation = decoder.chat(template=source, choices=["7"])
    conversation.send(TEXTS[0])
    counted = Counted(decoder.decoder, monkeypatch)
    for text in TEXTS[1:4]:
        counted.tokens = 0
        found = conversation.send(text)
        new = decoder.tokenizer.encode(f"\nu:{text}\na:", add_special_tokens=False)
        assert counted.tokens == len(new) + len(found.token_ids), (
            "the token that ended the last answer, and what is new"
        )


def test_sampled_answers_drafts_and_penalties_are_those_of_the_whole_conversation(decoder):
    for options in (
        {"temperature": 1.0, "seed": 3, "top_k": 40},
        {"prompt_lookup_num_tokens": 4},
        {"repetition_penalty": 1.3, "logprobs": 2},
        {"stop": ["e", "t"]},
    ):
        conversation = decoder.chat(template=SHORT, max_new_tokens=12)
        for text in TEXTS[:3]:
            messages = asked(conversation, text)
            found = conversation.send(text, **options)
            expected = anew(decoder, messages, max_new_tokens=12, **options)
            assert outcome(found) == outcome(expected)
            assert (found.logprobs is None) == (expected.logprobs is None)


def test_options_of_the_conversation_are_those_of_turns_that_leave_them_out(decoder):
    conversation = decoder.chat(template=SHORT, max_new_tokens=3)
    assert len(conversation.send("why").token_ids) == 3
    assert len(conversation.send("why", max_new_tokens=5, min_new_tokens=5).token_ids) == 5


def test_a_stream_joined_is_what_send_gives(decoder):
    first, second = (decoder.chat(template=SHORT, max_new_tokens=10) for _ in range(2))
    for text in TEXTS[:3]:
        chunks, found = list(first.stream(text)), second.send(text)
        assert "".join(x.text for x in chunks) == found.text
        assert [t for x in chunks for t in x.token_ids] == found.token_ids
        assert first.messages == second.messages


def test_a_conversation_begins_with_a_system_text_or_with_messages(decoder):
    told = decoder.chat(template=SHORT, system="the sun")
    assert told.messages == [{"role": "system", "content": "the sun"}]
    history = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    conversation = decoder.chat(template=SHORT, system="the sun", messages=history, max_new_tokens=4)
    messages = asked(conversation, "why")
    assert messages[:3] == [*told.messages, *history]
    assert outcome(conversation.send("why")) == outcome(anew(decoder, messages, max_new_tokens=4))
    assert history == [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


def test_what_messages_gives_is_a_copy(decoder):
    conversation = decoder.chat(template=SHORT, system="the sun")
    conversation.messages[0]["content"] = "the moon"
    conversation.messages.clear()
    assert conversation.messages == [{"role": "system", "content": "the sun"}]


def test_forks_go_on_as_conversations_of_their_own(decoder, monkeypatch):
    for name in choices_of(decoder):
        first = decoder.chat(adapter=name, template=SHORT, max_new_tokens=5)
        first.send(TEXTS[0])
        forks = [first, first.fork(), first.fork()]
        with monkeypatch.context() as patched:
            counted = Counted(decoder.decoder, patched)
            for turn in range(2):
                for i, conversation in enumerate(forks):
                    text = TEXTS[1 + (turn + i) % 3]
                    messages, counted.tokens = asked(conversation, text), 0
                    found, tokens = conversation.send(text), counted.tokens
                    assert outcome(found) == outcome(anew(decoder, messages, adapter=name, max_new_tokens=5))
                    assert tokens < len(ids_of(decoder, messages))
        assert len({tuple(x["content"] for x in fork.messages) for fork in forks}) == 3


def test_a_fork_of_nothing_is_a_beginning(decoder):
    assert decoder.chat(template=SHORT, system="the sun").fork().messages == [{"role": "system", "content": "the sun"}]


def test_what_does_not_fit_is_refused_and_leaves_the_conversation_as_it_was(decoder):
    conversation = decoder.chat(template=SHORT, max_new_tokens=5)
    conversation.send(TEXTS[0])
    before, tokens = conversation.messages, conversation.token_count
    with pytest.raises(ContextLengthError, match="the conversation takes"):
        conversation.send("the sea " * 60)
    assert (conversation.messages, conversation.token_count) == (before, tokens)
    messages = asked(conversation, TEXTS[1])
    assert outcome(conversation.send(TEXTS[1])) == outcome(anew(decoder, messages, max_new_tokens=5))
    with pytest.raises(ContextLengthError):
        for _ in range(40):
            before = conversation.messages
            conversation.send("the sun will shine")
    assert conversation.messages == before


@pytest.mark.parametrize("options", [{"max_new_tokens": 9}, {}])
def test_the_oldest_turns_slide_out_behind_the_system_text(decoder, options):
    for name in choices_of(decoder):
        conversation = decoder.chat(adapter=name, template=SHORT, system="be good", overflow="slide", **options)
        slides = 0
        for i in range(15):
            text = TEXTS[i % len(TEXTS)]
            before = asked(conversation, text)
            found = conversation.send(text)
            *kept, answer = conversation.messages
            assert kept[0] == {"role": "system", "content": "be good"}
            assert kept[1:] == before[len(before) - len(kept) + 1 :] and kept[1]["role"] == "user"
            assert answer["content"] == found.text
            assert outcome(found) == outcome(anew(decoder, kept, adapter=name, **options))
            slides += len(kept) < len(before)
        assert slides >= 2 and (slides <= 10 or not options), "once turns slide, several do"


def test_a_text_that_is_too_long_alone_is_refused_where_turns_slide_too(decoder):
    conversation = decoder.chat(template=SHORT, system="be good", overflow="slide", max_new_tokens=5)
    conversation.send(TEXTS[0])
    before = conversation.messages
    with pytest.raises(ContextLengthError):
        conversation.send("the sea " * 60)
    assert conversation.messages == before
    assert conversation.send(TEXTS[1]).token_ids


def test_what_was_written_before_a_cancellation_is_the_answer(decoder):
    cancel, seen = threading.Event(), []
    whole = decoder.chat(template=SHORT).send(TEXTS[0], max_new_tokens=20, min_new_tokens=20)

    def on_chunk(chunk):
        seen.append(chunk)
        if len(seen) == 3:
            cancel.set()

    conversation = decoder.chat(template=SHORT, max_new_tokens=5)
    found = conversation.send(TEXTS[0], cancel=cancel, on_chunk=on_chunk, max_new_tokens=20, min_new_tokens=20)
    assert found.finish_reason == "cancelled" and 0 < len(found.token_ids) < 20
    assert found.token_ids == whole.token_ids[: len(found.token_ids)]
    assert conversation.messages[-1] == {"role": "assistant", "content": found.text}
    messages = asked(conversation, TEXTS[1])
    assert outcome(conversation.send(TEXTS[1])) == outcome(anew(decoder, messages, max_new_tokens=5))


def test_a_turn_of_which_nothing_was_written_has_not_been(decoder):
    conversation, cancel = decoder.chat(template=SHORT, max_new_tokens=5), threading.Event()
    cancel.set()
    assert conversation.send("why", cancel=cancel).finish_reason == "cancelled"
    assert conversation.send("why", max_time_s=1e-9).finish_reason == "time"
    assert conversation.messages == []


def test_an_answer_that_ends_at_once_is_an_answer(decoder):
    conversation = decoder.chat(template=SHORT)
    found = conversation.send("why", logit_bias={1: 1000.0})
    assert (found.text, found.finish_reason) == ("", "eos")
    assert [x["content"] for x in conversation.messages] == ["why", ""]


def test_of_a_stream_that_is_dropped_what_it_gave_is_the_answer(decoder):
    conversation, given = decoder.chat(template=SHORT, max_new_tokens=20, min_new_tokens=20), ""
    for i, chunk in enumerate(conversation.stream(TEXTS[0])):
        given += chunk.text
        if i == 2:
            break
    gc.collect()
    assert given and conversation.messages[-1] == {"role": "assistant", "content": given}
    messages = asked(conversation, TEXTS[1])
    assert outcome(conversation.send(TEXTS[1], max_new_tokens=5, min_new_tokens=0)) == outcome(
        anew(decoder, messages, max_new_tokens=5)
    )


def test_a_stream_that_is_never_read_is_no_turn(decoder):
    conversation = decoder.chat(template=SHORT, max_new_tokens=5)
    stream = conversation.stream("why")
    with pytest.raises(ConversationError, match="still being written"):
        conversation.send("no")
    del stream
    gc.collect()
    assert conversation.messages == []
    conversation.stream("why").close()
    assert conversation.send("no").token_ids


def test_while_a_turn_is_written_there_is_no_other(decoder, tmp_path):
    conversation = decoder.chat(template=SHORT, max_new_tokens=6, min_new_tokens=6)
    with closing(conversation.stream("why")) as stream:
        next(stream)
        for refused in (
            lambda: conversation.send("no"),
            lambda: conversation.stream("no"),
            lambda: conversation.astream("no"),
            conversation.fork,
            lambda: conversation.save(tmp_path / "x"),
        ):
            with pytest.raises(ConversationError, match="still being written"):
                refused()
        last = [*stream][-1]
    assert last.finish_reason == "length" and len(conversation.messages) == 2
    assert not list(tmp_path.iterdir())


def test_with_its_last_chunk_a_turn_is_over(decoder):
    conversation = decoder.chat(template=SHORT, max_new_tokens=4)
    stream = conversation.stream("why")
    while next(stream).finish_reason is None:
        pass
    other = conversation.stream("no")
    stream.close()
    with pytest.raises(ConversationError):
        conversation.send("no")
    assert list(other)[-1].finish_reason
    assert len(conversation.messages) == 4


def test_an_error_leaves_the_conversation_as_it_was(decoder):
    conversation = decoder.chat(template=SHORT, max_new_tokens=5)
    conversation.send("why")
    before = conversation.messages

    def fails(chunk):
        raise ZeroDivisionError

    for error, text, options in (
        (ZeroDivisionError, "no", {"on_chunk": fails}),
        (InputError, 3, {}),
        (InputError, "no", {"max_tokens": 3}),
        (OptionError, "no", {"temperature": -1}),
        (OptionError, "no", {"n": 2}),
        (OptionError, "no", {"num_beams": 2}),
    ):
        with pytest.raises(error):
            conversation.send(text, **options)
        assert conversation.messages == before
    messages = asked(conversation, "no")
    assert outcome(conversation.send("no")) == outcome(anew(decoder, messages, max_new_tokens=5))


def test_an_asynchronous_stream_gives_the_same(decoder):
    async def told(conversation, text):
        return [chunk async for chunk in conversation.astream(text)]

    first, second = (decoder.chat(template=SHORT, max_new_tokens=6) for _ in range(2))
    for text in TEXTS[:2]:
        assert "".join(x.text for x in asyncio.run(told(first, text))) == second.send(text).text
    assert first.messages == second.messages


def test_a_task_that_is_cancelled_leaves_a_conversation_that_goes_on(decoder):
    conversation = decoder.chat(template=SHORT, max_new_tokens=60, min_new_tokens=60)

    async def half():
        async for _ in conversation.astream(TEXTS[0]):
            raise asyncio.CancelledError

    async def main():
        task = asyncio.ensure_future(half())
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    gc.collect()
    messages = asked(conversation, TEXTS[1])
    options = {"max_new_tokens": 4, "min_new_tokens": 0}
    assert outcome(conversation.send(TEXTS[1], **options)) == outcome(anew(decoder, messages, **options))


def test_a_template_that_refuses_the_messages_is_quoted(decoder):
    conversation = decoder.chat(template=TEMPLATES["gemma"], system="be good")
    with pytest.raises(InputError, match="System role not supported"):
        conversation.send("why")
    assert len(conversation.messages) == 1


def test_arguments_that_make_no_conversation_are_refused(decoder, loaded):
    for error, arguments in (
        (OptionError, {"overflow": "roll"}),
        (InputError, {"system": 3}),
        (InputError, {"messages": "hello"}),
        (InputError, {"messages": [{"role": "user"}]}),
        (InputError, {"messages": [{"role": "user", "content": None}]}),
        (InputError, {"system": "a", "messages": [{"role": "system", "content": "b"}]}),
        (InputError, {"max_tokens": 3}),
        (OptionError, {"n": 2}),
        (InputError, {"template": 3}),
    ):
        with pytest.raises(error):
            decoder.chat(**{"template": SHORT, **arguments})
    with pytest.raises(InputError, match="no chat template"):
        decoder.chat()
    encoder = loaded(Path(__file__).parents[1] / "golden" / "encoder-shared")
    with pytest.raises(TaskError, match="does not generate"):
        encoder.chat(template=SHORT)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_done_with_a_conversation_its_answers_are_those_of_the_whole(decoder, tmp_path, seed):
    rng = random.Random(seed)
    adapter, source = rng.choice(choices_of(decoder)), rng.choice([SHORT, TEMPLATES["mistral"], TEMPLATES["alpaca"]])
    system = rng.choice([None, "be good"])
    going = [decoder.chat(adapter=adapter, system=system, template=source, overflow="slide", max_new_tokens=6)]
    for step in range(25):
        conversation, text = rng.choice(going), rng.choice(TEXTS)
        deed = rng.choice(["send", "send", "drop", "cancel", "fork", "save", "fail"])
        before = conversation.messages
        if deed == "send":
            options = rng.choice([{}, {"temperature": 1.0, "seed": step}, {"prompt_lookup_num_tokens": 3}])
            found = conversation.send(text, **options)
            *said, answer = conversation.messages
            expected = anew(decoder, said, source, adapter=adapter, max_new_tokens=6, **options)
            assert outcome(found) == outcome(expected) and answer["content"] == found.text
        elif deed == "drop":
            with closing(conversation.stream(text)) as stream:
                given = "".join(x.text for x in itertools.islice(stream, rng.randrange(4)))
            assert not given or conversation.messages[-1]["content"] == given
        elif deed == "cancel":
            cancel, most = threading.Event(), rng.randrange(3)
            for i, _ in enumerate(conversation.stream(text, cancel=cancel)):
                if i == most:
                    cancel.set()
        elif deed == "fork":
            going.append(conversation.fork())
        elif deed == "save":
            conversation.save(tmp_path / "chat")
            going[going.index(conversation)] = decoder.load_chat(tmp_path / "chat")
        else:
            with pytest.raises(ContextLengthError):
                conversation.send("the sea " * 60)
            assert conversation.messages == before
        going = going[-3:]


def test_conversations_of_many_threads_do_not_meet(decoder):
    names = choices_of(decoder)

    def held(place):
        conversation = decoder.chat(adapter=names[place % len(names)], template=SHORT, overflow="slide")
        return [conversation.send(TEXTS[(place + i) % len(TEXTS)], max_new_tokens=5).text for i in range(6)]

    alone = [held(place) for place in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(held, range(8))) == alone


def test_under_a_memory_limit_turns_slide_in_the_context_that_it_leaves(decoder_folder):
    plain = edgetune_runtime.load(decoder_folder, threads=1)
    memory = plain.memory
    model = edgetune_runtime.load(decoder_folder, threads=1, memory_limit=memory.fixed_bytes + memory.run_bytes(80))
    limit = model.manifest.graph.max_positions
    assert 64 <= limit <= 80 < plain.manifest.graph.max_positions
    conversation = model.chat(template=SHORT, system="be good", overflow="slide", max_new_tokens=5)
    for i in range(8):
        found = conversation.send(TEXTS[i % len(TEXTS)])
        assert conversation.positions <= limit
        assert outcome(found) == outcome(anew(plain, conversation.messages[:-1], max_new_tokens=5))
