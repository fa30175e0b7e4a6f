"""Commands of edgetune, each done once: what was done with the same options and files is passed over the next time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from edgetune.cli import main as edgetune

VIRTUAL_TOKENS = 10


class Steps:
    """Steps by name with what they were made of, kept in one file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.made: dict[str, list[Any]] = json.loads(path.read_text("utf-8")) if path.exists() else {}
        self.anew: set[str] = set()

    def run(self, name: str, arguments: Sequence[str], after: Iterable[str] = ()) -> None:
        """`edgetune ARGUMENTS`, unless that was done and no step before it was done anew."""
        self.make(name, list(arguments), after, lambda: command(arguments))

    def train(self, out: Path, model: str, task: str, files: Sequence[Path], count: int, batch: int) -> None:
        """A prefix in the folder `out`, evaluated once where there are rows for that; an interrupted run goes on."""
        arguments = ["train", "--model", model, "--task", task, "--method", "prefix", "--data", str(files[0])]
        arguments += ["--virtual-tokens", str(VIRTUAL_TOKENS), "--steps", str(count), "--batch-size", str(batch)]
        arguments += ["--out", str(out)]
        if len(files) > 1:
            arguments += ["--eval-data", str(files[1]), "--eval-every", str(count)]
        made_of, begun = [*arguments, *map(stamp, files)], f"{out.name}, begun"

        def trained() -> None:
            state = out.with_name(f"{out.name}.run") / "state.safetensors"
            goes_on = state.exists() and self.made.get(begun) == made_of
            self.record(begun, made_of)
            command([*arguments, "--resume" if goes_on else "--force"])

        self.make(out.name, made_of, (), trained)

    def add(self, bundle: Path, adapter: Path) -> None:
        """The adapter in the bundle."""
        name = f"{adapter.name} in {bundle.name}"
        self.run(name, ["add-adapter", str(bundle), str(adapter), "--force"], after=[bundle.name, adapter.name])

    def make(self, name: str, made_of: list[Any], after: Iterable[str], action: Callable[[], object]) -> None:
        """The action, unless it was done with the same and no step before it was done anew."""
        if self.made.get(name) == made_of and self.anew.isdisjoint(after):
            print(f"{name}: there already", flush=True)
            return
        self.made.pop(name, None)
        action()
        self.record(name, made_of)
        self.anew.add(name)

    def record(self, name: str, made_of: list[Any]) -> None:
        self.made[name] = made_of
        self.path.write_text(json.dumps(self.made, indent=1, ensure_ascii=False), "utf-8")


def command(arguments: Sequence[str]) -> None:
    """Its errors are one line and end the program."""
    print(f"$ edgetune {' '.join(arguments)}", flush=True)
    edgetune(list(arguments))


def stamp(path: Path) -> list[Any]:
    """What tells whether a file was changed."""
    found = path.stat() if path.exists() else None
    return [str(path), found and found.st_size, found and found.st_mtime]
