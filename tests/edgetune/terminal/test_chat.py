"""A conversation at a terminal: what is typed, what is shown, and what the model's own conversation makes of it."""

import io
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import edgetune_runtime
import pytest
from references.chat_templates import with_template

from edgetune.terminal.chat import COMMANDS, PROMPT, TerminalChat

pytest.importorskip("jinja2")
GOLDEN = Path(__file__).parents[2] / "golden"
SOURCE = """{{ bos_token }}{% for m in messages %}{{ m.role[0] }}: {{ m.content }}
{% endfor %}a:"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return with_template(GOLDEN / "decoder-shared", tmp_path_factory.mktemp("chat") / "bundle", SOURCE)


@pytest.fixture(scope="module")
def model(bundle):
    return edgetune_runtime.load(bundle, threads=1)


@pytest.fixture
def typed(model, monkeypatch, tmp_path, capsys):
    """`typed("hi", "/quit")`: what the model said, and what the program said, of a conversation with these lines."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def call(*lines, adapter="three", system=None, **options):
        waiting = iter(lines)

        def read(prompt):
            assert prompt == PROMPT
            line = next(waiting, None)
            if line is None:
                raise EOFError
            if isinstance(line, type):
                raise line
            return line

        capsys.readouterr()
        TerminalChat(model, adapter, system, {"max_new_tokens": 6, **options}, read).run()
        assert next(waiting, None) is None, "every line was read"
        return capsys.readouterr()

    return call


def test_lines_are_answered_as_by_the_models_own_conversation(typed, model):
    chat = model.chat(adapter="three", system="be good", max_new_tokens=6)
    expected = [chat.send(text).text for text in ("hi", "why")]
    assert typed("hi", "", "  ", "why", system="be good").out == "".join(f"{x}\n" for x in expected) + "\n"


def test_another_adapter_goes_on_with_the_same_messages(typed, model):
    chat = model.chat(adapter="three", max_new_tokens=6)
    chat.send("hi")
    expected = model.chat(adapter="seven", messages=chat.messages, max_new_tokens=6).send("why").text
    found = typed("hi", "/adapter seven", "why", "/quit")
    assert found.out.endswith(f"{expected}\n") and "goes on with seven" in found.err
    bare = model.chat(adapter=None, messages=chat.messages, max_new_tokens=6).send("why").text
    assert typed("hi", "/adapter base", "why", "/quit").out.endswith(f"{bare}\n")


def test_adapters_are_listed_with_the_one_in_use(typed):
    assert "three*  seven  soft  base" in typed("/adapter").err
    assert "three  seven  soft  base*" in typed("/adapter", adapter=None).err
    assert "no adapter 'nobody' here" in typed("/adapter nobody").err


def test_a_conversation_begins_anew_behind_its_system_text(typed, model):
    expected = [model.chat(system="be good", max_new_tokens=6).send(text).text for text in ("hi", "why")]
    found = typed("hi", "/reset", "why", "/system", system="be good")
    assert found.out.splitlines() == [*"\n".join(expected).splitlines(), ""]
    assert found.err.endswith("be good\n")


def test_a_system_text_takes_the_place_of_the_one_before_and_turns_stay(typed, model):
    chat = model.chat(system="be good", max_new_tokens=6)
    chat.send("hi")
    messages = [{"role": "system", "content": "be bad"}, *chat.messages[1:]]
    expected = model.chat(messages=messages, max_new_tokens=6).send("why").text
    found = typed("/system", "hi", "/system be bad", "why", "/quit", system="be good")
    assert found.out.endswith(f"{expected}\n") and "be good\n" in found.err
    assert "no system text" in typed("/system").err


def test_a_conversation_is_kept_and_goes_on(typed, model, tmp_path):
    path = tmp_path / "a chat"
    typed("hi", f"/save {path}")
    kept = model.load_chat(path)
    expected = kept.send("why").text
    found = typed("/load " + str(path), "why", "/quit")
    assert found.out == f"{PROMPT}hi\n{kept.messages[1]['content']}\n{expected}\n"


def test_a_path_may_begin_at_home(typed, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    typed("hi", "/save ~/chat")
    assert (tmp_path / "chat").is_file()


def test_what_cannot_be_done_is_a_line_and_the_conversation_goes_on(typed, model, tmp_path):
    expected = model.chat(max_new_tokens=6).send("why").text
    lines = ["/nothing", "/save", f"/load {tmp_path / 'none'}", f"/save {tmp_path / 'no' / 'where'}", "the sea " * 90]
    found = typed(*lines, "why", "/quit")
    assert found.out == f"{expected}\n"
    told = found.err.splitlines()
    for part in ("no command /nothing", "/save needs a PATH", "no such file", "cannot be saved", "the base holds 128"):
        assert any(part in line for line in told), part


def test_help_names_every_command(typed):
    err = typed("/help").err
    assert all(name in err for name in COMMANDS)


def test_an_answer_that_is_cut_or_a_conversation_that_slides_says_so(typed):
    found = typed(*["will it rain in the city"] * 9, min_new_tokens=6)
    assert "cut: no more tokens are allowed" in found.err
    assert "the oldest turns were forgotten" in found.err


def test_an_interrupt_stops_the_answer_and_not_the_program(typed, model):
    whole = model.chat(max_new_tokens=40, min_new_tokens=40).send("hi").text
    seen = []

    def interrupt(chunk):
        seen.append(chunk)
        if len(seen) == 3:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    found = typed("hi", "/system", "/quit", max_new_tokens=40, min_new_tokens=40, on_chunk=interrupt)
    assert signal.getsignal(signal.SIGINT) is before
    said = found.out.rstrip("\n")
    assert said and whole.startswith(said) and len(said) < len(whole)
    assert found.err.splitlines()[1:] == ["stopped", "no system text"]


def test_an_interrupt_at_the_prompt_forgets_the_line(typed, model):
    expected = model.chat(max_new_tokens=6).send("why").text
    assert typed(KeyboardInterrupt, "why", "/quit").out == f"\n{expected}\n"


def test_an_interrupt_during_a_command_does_not_end_the_program(typed, model, monkeypatch):
    expected = model.chat(max_new_tokens=6).send("why").text

    def load_chat(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(model, "load_chat", load_chat)
    assert typed("/load x", "why", "/quit").out == f"\n{expected}\n"


def test_tab_offers_commands_and_adapters(model):
    chat = TerminalChat(model, "three", None, {})
    assert chat.completions("/") == list(COMMANDS)
    assert chat.completions("/adapter ") == chat.completions("/adapter s") == ["three", "seven", "soft", "base"]
    assert chat.completions("hello /") == chat.completions("") == chat.completions("/save ") == []


def test_a_pipe_is_continued_line_by_line_without_a_template(cli, bundle, model, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("once upon\n\nwhy\n"))
    expected = [model.generate(text, max_new_tokens=6).text for text in ("once upon", "why")]
    assert cli("run", bundle, "--max-new-tokens", "6").out == "".join(f"{x}\n" for x in expected)


def test_a_system_text_where_there_is_no_conversation_is_a_mistake(cli, bundle):
    found = cli("run", bundle, "hi", "--system", "be good")
    assert found.code == 2 and "--system is for conversations" in found.err


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
class TestTerminal:
    """The program itself, at a pseudo-terminal."""

    @pytest.fixture
    def terminal(self, bundle, tmp_path):
        """`terminal("--plain")`: the program, and functions that type and that wait for what it shows."""
        import pty

        children = []

        def start(*flags):
            arguments = ["run", str(bundle), "--max-new-tokens", "6", "--threads", "1", *flags]
            pid, side = pty.fork()
            if pid == 0:
                signal.signal(signal.SIGINT, signal.SIG_DFL)  # a job in the background passes on that it is ignored
                os.environ.update(XDG_STATE_HOME=str(tmp_path / "state"), TERM="dumb", PYTHONUNBUFFERED="1")
                os.execv(sys.executable, [sys.executable, "-c", f"from edgetune.cli import main\nmain({arguments!r})"])
            children.append((pid, side))
            return Screen(pid, side)

        yield start
        for pid, side in children:
            os.close(side)
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass

    def test_turns_history_and_the_end_of_the_input(self, terminal, model, tmp_path):
        chat = model.chat(adapter="seven", system="be good", max_new_tokens=6)
        screen = terminal("--adapter", "seven", "--system", "be good")
        screen.wait_for(PROMPT)
        screen.type("hi\n")
        screen.wait_for(shown(chat.send("hi").text))
        screen.wait_for(PROMPT)
        screen.type("/sys\t\n")  # completed
        screen.wait_for("be good")
        screen.wait_for(PROMPT)
        screen.type("why?")
        screen.wait_for("why?")
        screen.interrupt_until(PROMPT)  # the line is forgotten
        screen.type("\x1b[A\x1b[A\n")  # up, twice: the first line again
        screen.wait_for(shown(chat.send("hi").text))
        screen.wait_for(PROMPT)
        screen.type("\x04")
        assert screen.ended() == 0
        history = tmp_path / "state" / "edgetune" / "history"
        assert [x.strip() for x in history.read_text().splitlines()] == ["hi", "/system", "hi"]
        assert history.stat().st_mode & 0o777 == 0o600

    def test_plain_lines_are_continued_where_there_is_a_template_too(self, terminal, model):
        screen = terminal("--plain", "--base")
        screen.wait_for("one text a line")
        screen.type("once upon\n")
        screen.wait_for(shown(model.generate("once upon", adapter=None, max_new_tokens=6).text))
        screen.type("\x04")
        assert screen.ended() == 0


class Screen:
    """The other side of a pseudo-terminal."""

    def __init__(self, pid, side):
        self.pid, self.side, self.text = pid, side, ""

    def type(self, text):
        os.write(self.side, text.encode())

    def wait_for(self, text, seconds=120):
        """Until `text` is shown; what comes behind it is for the next call."""
        import select

        end, data = time.monotonic() + seconds, b""
        while text not in self.text:
            assert time.monotonic() < end, f"no {text!r} in {self.text!r}"
            if select.select([self.side], [], [], 1)[0]:
                data += os.read(self.side, 4096)
                self.text += data.decode("utf-8", "ignore")
                data = b""
        self.text = self.text[self.text.index(text) + len(text) :]

    def interrupt_until(self, text):
        """Ctrl-C, again where Python did not see it: one that comes while readline takes a key waits for the next."""
        for _ in range(20):
            self.type("\x03")
            with suppress(AssertionError):
                return self.wait_for(text, seconds=5)
        raise AssertionError(f"no {text!r} in {self.text!r}")

    def ended(self, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.05)
        raise AssertionError("the program goes on")


def shown(text):
    """As much of a text as has neither line ends nor signs that a terminal obeys."""
    parts = "".join(x if x.isascii() and x.isprintable() else "\n" for x in text).split("\n")
    return max(parts, key=len)
