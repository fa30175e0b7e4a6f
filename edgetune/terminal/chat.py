"""A conversation in the terminal: lines in, answers out as they are written, commands that begin with a slash."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from edgetune.terminal.interrupts import cancelled_by_interrupt
from edgetune.terminal.lines import edited_lines, history_path

PROMPT = "> "
BARE = "base"
"""What `/adapter` calls the base without an adapter, unless an adapter has that name."""
COMMANDS = {
    "/adapter": ("[NAME]", f"go on with another adapter, `{BARE}` for none; without NAME: which there are"),
    "/system": ("[TEXT]", "say how to answer; without TEXT: what was said"),
    "/reset": ("", "begin anew, behind the same system text"),
    "/save": ("PATH", "keep the conversation in a file"),
    "/load": ("PATH", "go on with one that was kept"),
    "/help": ("", "this"),
    "/quit": ("", "leave, as does Ctrl-D; Ctrl-C stops an answer"),
}


class TerminalChat:
    """One conversation at a time with a model that has a chat template."""

    def __init__(
        self, model: Any, adapter: str | None, system: str | None, options: Mapping[str, Any],
        read: Callable[[str], str] = input,
    ):  # fmt: skip
        """`read` shows a prompt and gives a line, or raises EOFError; `options` are those of every turn."""
        self._model, self._options, self._read = model, dict(options), read
        self._chat = self._begun(adapter, [{"role": "system", "content": system}] if system else [])

    def run(self) -> None:
        """Until `/quit` or the end of the input."""
        say("/help lists the commands; Ctrl-D leaves")
        with edited_lines(history_path(), self.completions, say):
            is_over = False
            while not is_over:
                try:
                    is_over = not self.took(self._read(PROMPT))
                except EOFError:
                    click.echo()
                    is_over = True
                except KeyboardInterrupt:
                    click.echo()  # what was typed is forgotten

    def took(self, line: str) -> bool:
        """Whether the conversation goes on after a line, which is a command, a text to be answered, or empty."""
        if line.startswith("/"):
            return self.obeyed(line)
        if line.strip():
            self.answered(line)
        return True

    def completions(self, line: str) -> list[str]:
        """What may stand where the last word of the line does."""
        first, _, rest = line.partition(" ")
        if first == line:
            return [x for x in COMMANDS if line.startswith("/")]
        return self._names() if first == "/adapter" and " " not in rest else []

    def answered(self, text: str) -> None:
        """Writes the answer as it comes; an error is a line, and the conversation is as it was."""
        from edgetune_runtime import EdgetuneError

        before, reason = len(self._chat.messages), None
        try:
            with cancelled_by_interrupt() as cancel:
                for chunk in self._chat.stream(text, cancel=cancel):
                    click.echo(chunk.text, nl=False)
                    reason = chunk.finish_reason
        except KeyboardInterrupt:
            reason = "cancelled"
        except EdgetuneError as error:
            say(str(error))
            return
        click.echo()
        ends = {"cancelled": "stopped", "time": "out of time", "length": "cut: no more tokens are allowed"}
        if reason in ends:
            say(ends[reason])
        if len(self._chat.messages) < before:
            say("the oldest turns were forgotten: the conversation had become too long")

    def obeyed(self, line: str) -> bool:
        """Whether the conversation goes on after a command."""
        from edgetune_runtime import EdgetuneError

        name, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        if name == "/quit":
            return False
        does = {
            "/adapter": self._switch, "/system": self._instruct, "/reset": self._reset, "/save": self._save,
            "/load": self._load, "/help": self._help,
        }.get(name)  # fmt: skip
        if does is None:
            say(f"no command {name}; /help lists them")
            return True
        if (wants := COMMANDS[name][0]) and not wants.startswith("[") and not rest:
            say(f"{name} needs a {wants}")
            return True
        try:
            does(rest)
        except EdgetuneError as error:
            say(str(error))
        return True

    def _switch(self, name: str) -> None:
        if not name:
            here = self._chat.adapter or BARE
            say("  ".join(f"{x}*" if x == here else x for x in self._names()))
            return
        adapter = None if name == BARE and BARE not in self._model.adapters else name
        self._chat = self._begun(adapter, self._chat.messages)
        say(f"goes on with {name}")

    def _names(self) -> list[str]:
        writing = [name for name, info in self._model.adapters.items() if info.task == "generate"]
        has_bare = self._model.manifest.form == "shared" and BARE not in writing
        return [*writing, *([BARE] if has_bare else [])]

    def _instruct(self, text: str) -> None:
        first, rest = self._parts()
        if not text:
            say(first[0]["content"] if first else "no system text")
            return
        self._chat = self._begun(self._chat.adapter, [{"role": "system", "content": text}, *rest])

    def _reset(self, _: str) -> None:
        self._chat = self._begun(self._chat.adapter, self._parts()[0])

    def _parts(self) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
        """The system message, if there is one, and the others."""
        messages = self._chat.messages
        count = 1 if messages and messages[0]["role"] == "system" else 0
        return messages[:count], messages[count:]

    def _save(self, path: str) -> None:
        self._chat.save(Path(path).expanduser())
        say(f"kept in {path}")

    def _load(self, path: str) -> None:
        self._chat = self._model.load_chat(Path(path).expanduser())
        for message in self._chat.messages:
            mark = PROMPT if message["role"] == "user" else ""
            click.echo(f"{mark}{message['content']}")

    def _help(self, _: str) -> None:
        width = max(len(f"{name} {wants}") for name, (wants, _) in COMMANDS.items())
        for name, (wants, told) in COMMANDS.items():
            say(f"{f'{name} {wants}'.ljust(width)}  {told}")

    def _begun(self, adapter: str | None, messages: Sequence[Mapping[str, str]]) -> Any:
        return self._model.chat(adapter=adapter, messages=messages, overflow="slide", **self._options)


def say(text: str) -> None:
    """A line of the program's own, not of the model's."""
    click.secho(text, dim=True, err=True)
