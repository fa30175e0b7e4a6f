"""The bundles that the page serves, by edgetune's own commands: a classifier with several tasks, and a story teller.

    python samples/web/make_bundles.py --encoder ID --task support=support.csv,support-dev.csv --decoder ID

`README.md` beside this file describes the options. What is done already is not done again.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from published import PUBLISHED, written
from steps import Steps
from theme import BEGINNINGS, themed_rows

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
SHARED = CHECKOUT.parent / "shared"
"""Where this project is made, models and data lie there, in `models` and `data`."""
COMMANDS = CHECKOUT / "edgetune" / "data" / "voice_commands"
TITLES = {"commands": "Smart home", "banking77": "Bank support", "snips": "Assistant"}
THEME = "a little cat named Tom who lived by the sea"
SENTENCES_AT_ONCE, STORIES_AT_ONCE = 32, 16
"""In a step of training."""
EXAMPLES = 3
LONGEST_EXAMPLE = 40


def given(parser_arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--encoder", default=default_encoder(), help="hub id or folder; left out: MiniLM")
    add("--task", action="append", default=[], metavar="NAME=TRAIN[,EVAL]", help="rows of text and label; repeatable")
    add("--data", type=Path, default=SHARED / "data", help="folder that holds `banking77` and `snips` as published")
    add("--decoder", default=default_decoder(), help="hub id or folder; left out: stories260K, if it is there")
    add("--voice", metavar="NAME=TRAIN[,EVAL]", help="rows of prompt and completion; left out: --theme")
    add("--theme", default=THEME, help="what the told stories are about (%(default)s)")
    add("--stories", type=int, default=240, help="how many of them are told for the voice to learn from (%(default)s)")
    add("--steps", type=int, default=200, help="of every task (%(default)s)")
    add("--voice-steps", type=int, default=150, help="of the voice (%(default)s)")
    add("--precision", default="int8", help="of the weights: fp32, fp16, int8 or int4 (%(default)s)")
    add("--out", type=Path, default=HERE / "bundles", help="folder (%(default)s)")
    options = parser.parse_args(parser_arguments)
    if not options.decoder:
        parser.error("--decoder is missing: give a hub id such as HuggingFaceTB/SmolLM2-135M, or a folder")
    return options


def default_encoder() -> str:
    """MiniLM of the package that the demo uses, else of the hub."""
    from edgetune.data.demo import embedded_model
    from edgetune.errors import ConfigError

    try:
        return str(embedded_model())
    except ConfigError:
        return "sentence-transformers/all-MiniLM-L6-v2"


def default_decoder() -> str | None:
    found = SHARED / "models" / "stories260K-hf"
    return str(found) if found.is_dir() else None


def tasks_of(options: argparse.Namespace, work: Path) -> dict[str, list[Path]]:
    """Files to train on, then to evaluate on, by name. Left out: the voice commands, and what is published."""
    found = dict(named(text) for text in options.task)
    if found:
        return found
    found["commands"] = [COMMANDS / "train.jsonl", COMMANDS / "eval.jsonl"]
    for name, rows_in in PUBLISHED.items():
        if (options.data / name).is_dir():
            parts = zip(("train", "eval"), rows_in(options.data / name))
            found[name] = [written(rows, work / f"{name}.{part}.jsonl") for part, rows in parts]
    return found


def named(text: str) -> tuple[str, list[Path]]:
    """`NAME=TRAIN[,EVAL]`."""
    name, _, files = text.partition("=")
    if not (name and files):
        raise SystemExit(f"make_bundles: {text!r} is no NAME=TRAIN[,EVAL]")
    return name, [Path(file) for file in files.split(",", 1)]


def classifier(options: argparse.Namespace, tasks: dict[str, list[Path]], work: Path, steps: Steps) -> None:
    """One base; the first task comes with it, the others are added, as they would be to a base on a device."""
    bundle, first = options.out / "classifier", next(iter(tasks))
    for name, files in tasks.items():
        steps.train(work / name, options.encoder, "classify", files, options.steps, SENTENCES_AT_ONCE)
    base = ["--model", options.encoder, "--precision", options.precision, "--out", str(bundle), "--force"]
    steps.run("classifier", ["export", *base, "--adapter", str(work / first)], after=[first])
    for name in list(tasks)[1:]:
        steps.add(bundle, work / name)


def writer(options: argparse.Namespace, work: Path, steps: Steps) -> str:
    """The base alone, then a voice: of given rows, or learned from stories that the base itself tells. Its name."""
    bundle = options.out / "writer"
    base = ["--model", options.decoder, "--precision", options.precision, "--out", str(bundle), "--force"]
    if options.precision == "int8":
        base += ["--block-size", "0"]  # whole columns, which WebAssembly is fast at
    steps.run("writer", ["export", *base, "--task", "generate"])
    if options.voice:
        name, files = named(options.voice)
    else:
        name, files = "theme", [work / "theme.jsonl"]
        steps.make(
            "stories",
            [options.theme, options.stories],
            ["writer"],
            lambda: written(themed_rows(bundle, options.theme, options.stories), files[0]),
        )
    steps.train(work / name, options.decoder, "generate", files, options.voice_steps, STORIES_AT_ONCE)
    steps.add(bundle, work / name)
    return name


def examples_of(files: list[Path]) -> list[str]:
    """A few short rows of different labels, of those that were not trained on where there are such."""
    from edgetune.data.rows import read_rows

    found: dict[str, str] = {}
    for row in read_rows(files[-1], task="classify"):
        if len(row.text) <= LONGEST_EXAMPLE and len(found) < EXAMPLES:
            found.setdefault(row.label, row.text)
    return list(found.values())


def main(arguments: list[str] | None = None) -> None:
    options = given(arguments)
    work = options.out / "work"
    work.mkdir(parents=True, exist_ok=True)
    steps = Steps(work / "done.json")
    tasks = tasks_of(options, work)
    classifier(options, tasks, work, steps)
    voice = writer(options, work, steps)
    short = re.split(r",| (?:who|that|which|with|in|of)\b", options.theme)[0]
    titles = {name: TITLES.get(name, name.replace("-", " ").replace("_", " ").capitalize()) for name in tasks}
    page = {
        "titles": {**titles, voice: short[0].upper() + short[1:] if voice == "theme" else voice.capitalize()},
        "examples": {name: examples_of(files) for name, files in tasks.items()},
        "beginnings": list(BEGINNINGS),
    }
    (options.out / "page.json").write_text(json.dumps(page, indent=1, ensure_ascii=False), "utf-8")
    print(f"bundles in {options.out}; next: node build.mjs {options.out} --serve")


if __name__ == "__main__":
    main()
