"""Processes killed at random moments while they write: what was there before is there still, or what came after, whole.

    python benchmarks/crashes.py [--kills 500] [--seed 0] [--only train export sign store chat]

Each kill is a child process that writes one result after another and is ended by SIGKILL at a random moment; what it
has finished it says first. Then the place is read again, every hash compared: of a run an adapter, of an export a
bundle, of a signature one that verifies, of a store the version in use, of a conversation its messages. Lost is what
cannot be read, and a result that was finished and is there neither itself nor as its successor. Ends with status 1
where something was lost.

An export computes for long and writes for moments, so its kills come at its calls to the system: a third of them while
files are written, a third from their syncing to the exchange of the folders, a third behind it; half of them right
there, where it is known which result has to be left, and half up to five milliseconds later.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import edgetune_runtime
from edgetune_runtime import AdapterStore
from edgetune_runtime.signed_files import verify
from safetensors.numpy import load_file, save

TESTS = Path(__file__).resolve().parents[1] / "tests"
GOLDEN = TESTS / "golden" / "decoder-shared"
SHARES = {"train": 80, "export": 40, "sign": 80, "store": 150, "chat": 150}
"""Kills of 500."""
Step = Callable[[int], None]
Hook = Callable[[str, tuple[Any, ...]], None]


@dataclass(frozen=True)
class Writer:
    """Something that writes results, one after another."""

    write: Step
    """Result `n`, whole when it returns."""
    number: Callable[[], int]
    """Of the result that is there, every byte of it looked at; raises where there is none that is whole."""
    window_s: float | None
    """The kill comes within this much; None: at one of its calls to the system."""


def stored(folder: Path) -> Writer:
    """Versions of an adapter, with a rollback now and then."""
    source = next(iter((GOLDEN / "adapters").glob("*.safetensors")))
    tensors, model = load_file(source), edgetune_runtime.load(GOLDEN, threads=1)
    said = json.loads(metadata_of(source))

    def write(n: int) -> None:
        store = AdapterStore(folder, model)
        data = save(tensors, {"edgetune": json.dumps({**said, "name": "task", "version": n})})
        store.install(data, "task")

    def number() -> int:
        store = AdapterStore(folder, edgetune_runtime.load(GOLDEN, threads=1))
        assert not store.problems, store.problems
        return store.versions["task"][0].version

    return Writer(write, number, 0.15)


def metadata_of(path: Path) -> str:
    """What an adapter's file says of itself."""
    data = path.read_bytes()
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]["edgetune"]


def chatted(folder: Path) -> Writer:
    """A conversation, saved after each turn."""
    path, template = folder / "chat.safetensors", "{% for m in messages %}{{ m.content }}\\n{% endfor %}"
    model = edgetune_runtime.load(GOLDEN, threads=1)

    def write(n: int) -> None:
        talk = model.chat(template=template, messages=[{"role": "user", "content": str(n)}], max_new_tokens=1)
        talk.send("a")
        talk.save(path)

    def number() -> int:
        return int(edgetune_runtime.load(GOLDEN, threads=1).load_chat(path).messages[0]["content"])

    return Writer(write, number, 0.15)


def signed_over(folder: Path) -> Writer:
    """Signatures of a bundle, with two keys in turn."""
    from edgetune.signing import new_key, signed

    bundle = folder / "bundle"
    shutil.copytree(GOLDEN, bundle)
    keys = [new_key(folder / f"{name}.key", "P-256", None, force=False) for name in "ab"]

    def write(n: int) -> None:
        signed(bundle, keys[n % 2][0], lambda: "")

    def number() -> int:
        verify(bundle, [public.read_text() for _, public in keys])
        return -1

    return Writer(write, number, 0.6)


def module_at(path: Path) -> Any:
    """The tests' own, whose folder has the name of the package that they test."""
    spec = importlib.util.spec_from_file_location(f"crashes_{path.parent.name}", path)
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def trained(folder: Path) -> Writer:
    """Runs that replace one another."""
    from edgetune.adapter import load_adapter
    from edgetune.config import TrainConfig
    from edgetune.training.result import train_into

    tiny = module_at(TESTS / "edgetune" / "tiny.py")
    base, out, rows = tiny.base_of("bert"), folder / "run", folder / "rows.jsonl"
    model = str(tiny.saved(base, folder / "base"))
    words = tiny.WORDS[-2:]
    rows.write_text("".join(json.dumps({"text": words[i % 2], "label": str(i % 2)}) + "\n" for i in range(8)))

    def write(n: int) -> None:
        given = TrainConfig(
            model=model, data=str(rows), eval_data=str(rows), steps=4, batch_size=4, virtual_tokens=3, eval_every=2,
            save_every=2, seed=n,
        )  # fmt: skip
        train_into(out, given, base=base, force=True)

    def number() -> int:
        load_adapter(out)
        return next(
            int(line.split("=")[1]) for line in (out / "run.toml").read_text().splitlines() if line[:4] == "seed"
        )

    return Writer(write, number, 0.6)


def exported(folder: Path) -> Writer:
    """Bundles that replace one another; each process finds the first one's graph traced, which takes long."""
    from edgetune_export import bundle

    made = module_at(TESTS / "edgetune_export" / "conftest.py")
    base, out, here = made.made_base("Llama"), folder / "bundle", os.getpid()
    traced, ready = bundle.shared_graphs, []

    def graphs(*given: Any) -> Any:
        found = ready.pop() if ready else traced(*given)
        if os.getpid() == here:
            ready.append(traced(*given))  # those that are forked have it
        return found

    bundle.shared_graphs = graphs

    def write(n: int) -> None:
        bundle.export_bundle(base, {f"n{n}": made.random_adapter(base, "prefix", 3)}, out, force=True)

    def number() -> int:
        model = edgetune_runtime.load(out, threads=1)
        (name,) = model.adapters
        model.generate([5, 6], adapter=name, max_new_tokens=1)
        return int(name[1:])

    return Writer(write, number, None)


WRITERS = {"train": trained, "export": exported, "sign": signed_over, "store": stored, "chat": chatted}


def child(writer: Writer, first: int, said: int, hook: Hook | None = None) -> int:
    """A process that writes results from `first` on and says each that is whole; its id."""
    process = os.fork()
    if process:
        return process
    try:
        if hook is not None:
            sys.addaudithook(hook)
        for n in range(first, first + 1000):
            writer.write(n)
            os.write(said, f"{n}\n".encode())
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def killed(writer: Writer, first: int, rng: random.Random) -> int | None:
    """Kills a process at a random moment; the last result that it said was whole."""
    reading, writing = os.pipe()
    process = child(writer, first, writing)
    os.close(writing)
    assert writer.window_s is not None
    time.sleep(rng.uniform(0, writer.window_s))
    os.kill(process, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    with os.fdopen(reading) as said:
        whole = said.read().split()
    if status != -signal.SIGKILL:
        raise RuntimeError(f"the process ended by itself with {status}")
    return int(whole[-1]) if whole else None


CALLS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.scandir", "ctypes.dlsym")
EXCHANGE, LATER_S = "ctypes.dlsym renameat2", 0.005


@dataclass(frozen=True)
class Calls:
    """What one result takes of the system: how many calls before its files are synced, and before it is exchanged."""

    written: int
    exchanged: int
    all: int

    def drawn(self, third: int, rng: random.Random) -> int:
        """One of the calls of that third."""
        bounds = ((0, self.written), (self.written, self.exchanged + 1), (self.exchanged + 1, self.all + 1))
        return rng.randrange(*bounds[third])


def calls_of(writer: Writer, n: int) -> Calls:
    """Those of result `n`, which is written by a process of its own."""
    reading, writing = os.pipe()
    seen: list[str] = []

    def noted(event: str, given: tuple[Any, ...]) -> None:
        if event in CALLS:
            seen.append(f"{event} {given[event == 'ctypes.dlsym']}")

    def write(k: int) -> None:
        if k > n:
            data = json.dumps(seen).encode()
            with os.fdopen(os.dup(writing), "wb") as file:
                file.write(data)
            os._exit(0)
        writer.write(k)

    process = child(Writer(write, writer.number, None), n, os.open(os.devnull, os.O_WRONLY), noted)
    os.close(writing)
    with os.fdopen(reading) as said:
        calls = json.loads(said.read())
    os.waitpid(process, 0)
    exchange = calls.index(EXCHANGE)
    # a tree is walked to be synced: the last walk that began before the exchange
    walk = max(i for i, x in enumerate(calls[:exchange]) if x.startswith("os.scandir"))
    first = next(i for i in range(walk, -1, -1) if calls[i].startswith("os.scandir") and ".partial-" in calls[i])
    return Calls(first, exchange, len(calls))


def killed_at(writer: Writer, first: int, call: int, later_s: float | None) -> tuple[int | None, int | None]:
    """Kills a process before that one of its calls, or `later_s` behind it.

    The last result that it said was whole, and the one that has to be there, where that is known.
    """
    reading, writing = os.pipe()
    count, there = 0, first - 1

    def noted(event: str, given: tuple[Any, ...]) -> None:
        nonlocal count, there
        if event not in CALLS:
            return
        count += 1
        if count == call + 1 and later_s is None:
            os.write(writing, f"there {there}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)
        elif count == call + 1:
            os.write(writing, b"here\n")
        if f"{event} {given[-1]}" == EXCHANGE:
            there += 1

    process = child(writer, first, writing, noted)
    os.close(writing)
    whole, exact = None, None
    with os.fdopen(reading) as said:
        for line in said:
            if line == "here\n":
                time.sleep(later_s or 0)
                os.kill(process, signal.SIGKILL)
            elif line.startswith("there"):
                exact = int(line.split()[1])
            else:
                whole = int(line)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if status != -signal.SIGKILL:
        raise RuntimeError(f"the process ended by itself with {status}")
    return whole, exact


def problems_of(name: str, kills: int, rng: random.Random, folder: Path) -> list[str]:
    """What was lost, a line each."""
    folder.mkdir()
    writer = WRITERS[name](folder)
    writer.write(0)
    last, wrong, between = 0, [], 0
    calls = None
    if writer.window_s is None:
        calls, last = calls_of(writer, 1), 1
    for kill in range(kills):
        first, exact = last + 1, None
        if calls is None:
            said = killed(writer, first, rng)
        else:
            call, later_s = calls.drawn(kill % 3, rng), rng.choice((None, rng.uniform(0, LATER_S)))
            said, exact = killed_at(writer, first, call, later_s)
        least = last if said is None else said
        try:
            found = writer.number()
        except Exception as error:
            wrong.append(f"{name}, kill {kill}: nothing whole is left: {type(error).__name__}: {error}")
            writer.write(least + 1)
            last = least + 1
            continue
        # what was being written may be there already, before it was said
        if found != -1 and found not in (least, least + 1):
            wrong.append(f"{name}, kill {kill}: {found} is there, and {least} was whole")
        if exact is not None and found != exact:
            wrong.append(f"{name}, kill {kill}: {found} is there, and it has to be {exact}")
        between += found == least + 1
        last = max(found, least + 1 if found == -1 else found)
    if calls is not None:
        print(f"{name:>7}: {calls.all} calls a result, synced from {calls.written} on, there at {calls.exchanged}")
    left = sum(".partial-" in path.name or ".old-" in path.name for path in folder.rglob("*"))
    print(f"{name:>7}: {kills} kills, {last} results, {between} there before they were said, {len(wrong)} lost, "
          f"{left} unfinished files and folders beside", flush=True)  # fmt: skip
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=list(SHARES), default=list(SHARES))
    asked = parser.parse_args()
    logging.disable(logging.WARNING)
    rng, wrong = random.Random(asked.seed), []
    with tempfile.TemporaryDirectory() as folder:
        for name in asked.only:
            kills = round(asked.kills * SHARES[name] / sum(SHARES[x] for x in asked.only))
            wrong += problems_of(name, kills, rng, Path(folder) / name)
    print("\n".join(wrong) or "nothing was lost")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
