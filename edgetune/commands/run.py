"""`edgetune run`: a bundle answers in the terminal."""

from __future__ import annotations

import sys
from typing import Any

import click

from edgetune.commands.writing import asked, refuse_in_conversation, writing_options, written


@click.command()
@click.argument("bundle")
@click.argument("text", required=False)
@click.option("--adapter", help="Which task.  [default: the bundle's first]")
@click.option("--ensemble", help="Several adapters together: the name of an ensemble in the bundle, or A,B,C.")
@click.option("--base", "bare", is_flag=True, help="Generate with the base alone, without an adapter.")
@click.option("--top-k", type=click.IntRange(1), help="Classify: labels to show. Generate: tokens to sample from.")
@click.option("--max-new-tokens", type=click.IntRange(1), help="Generate: the most tokens.")
@click.option("--temperature", type=click.FloatRange(0), help="Generate: 0 takes the likeliest token.")
@click.option(
    "--top-p", type=click.FloatRange(0, 1, min_open=True), help="Generate: smallest set of tokens of this mass."
)
@click.option("--min-p", type=click.FloatRange(0, 1), help="Generate: tokens this much as likely as the likeliest.")
@click.option("--repetition-penalty", type=click.FloatRange(0, min_open=True), help="Generate: above 1 repeats less.")
@writing_options
@click.option("--num-beams", type=click.IntRange(1), help="Generate: beam search, the likeliest text.")
@click.option("--max-time-s", type=click.FloatRange(0, min_open=True), help="Generate: the most seconds.")
@click.option("--choice", "choices", multiple=True, help="Generate: one of these strings.")
@click.option("--regex", help="Generate: a text that matches this expression.")
@click.option("--json-schema", type=click.File(), help="Generate: JSON that fits the schema in this file.")
@click.option("--grammar", type=click.File(), help="Generate: a text of the Lark grammar in this file.")
@click.option("--seed", type=int, help="Generate: the same seed gives the same text.")
@click.option("--stop", multiple=True, help="Generate: end before this string.")
@click.option("--system", help="Conversations: how to answer.")
@click.option("--plain", is_flag=True, help="Continue lines as they are, where the base has a chat template too.")
@click.option("--threads", type=click.IntRange(1), help="Threads of ONNX Runtime.")
def command(
    bundle: str, text: str | None, adapter: str | None, ensemble: str | None, bare: bool, system: str | None,
    plain: bool, threads: int | None, **options: Any,
) -> None:  # fmt: skip
    """Classify, tag or rate TEXT, or continue it; without TEXT every line of standard input.

    Where the base has a chat template and neither TEXT nor a pipe is given, it is a conversation: /help says more.
    """
    import edgetune_runtime

    if sum(map(bool, (adapter, ensemble, bare))) > 1:
        raise click.UsageError("--adapter, --ensemble and --base exclude each other")
    model = edgetune_runtime.load(bundle, threads=threads)
    task = asked_task(model, adapter, ensemble, bare)
    if task != "generate":
        refuse_generation(options, bare, task)
    for name in ("json_schema", "grammar"):
        options[name] = options[name] and options[name].read()
    chosen: dict[str, Any] = {"adapter": None} if bare else {"adapter": adapter} if adapter else {}
    if ensemble:
        chosen = {"ensemble": ensemble if ensemble in model.ensembles or "," not in ensemble else ensemble.split(",")}
    at_terminal = text is None and sys.stdin.isatty() and sys.stdout.isatty()
    if at_terminal and task == "generate" and model.chat_template and not (plain or ensemble):
        from edgetune.terminal.chat import TerminalChat

        refuse_in_conversation(options)
        TerminalChat(model, chosen.get("adapter", model.default_adapter), system, asked(options)).run()
        return
    if system is not None:
        raise click.UsageError("--system is for conversations: of a chat model, at a terminal, without TEXT")
    answer = {"classify": classified, "tag": tagged, "regress": predicted, "generate": written}[task]
    if text is not None:
        answer(model, text, chosen, options)
        return
    if sys.stdin.isatty():
        click.echo("one text a line; Ctrl-D ends", err=True)
    for line in sys.stdin:
        if line.strip():
            answer(model, line.rstrip("\r\n"), chosen, options)


def asked_task(model: Any, adapter: str | None, ensemble: str | None, bare: bool) -> str:
    """What the chosen adapter does; a name that is not there is the runtime's to refuse."""
    if bare and model.kind != "encoder":
        return "generate"
    members = model.ensembles[ensemble].adapters if ensemble in model.ensembles else (ensemble or "").split(",")
    name = adapter or members[0] or model.default_adapter
    return model.adapters[name].task if name in model.adapters else model.task


def refuse_generation(options: dict[str, Any], bare: bool, task: str) -> None:
    """What reads has nothing to sample: an option that would do nothing is a mistake."""
    reads = {"classify": "classifies", "tag": "tags", "regress": "predicts numbers"}[task]
    unused = [name for name, value in options.items() if value not in (None, ())]
    given = [name for name in unused if task != "classify" or name != "top_k"]
    if given or bare:
        name = "base" if bare else given[0].replace("_", "-")
        raise click.UsageError(f"--{name} is for generators; this bundle {reads}")


def classified(model: Any, text: str, chosen: dict[str, Any], options: dict[str, Any]) -> None:
    result = model.classify(text, top_k=options["top_k"] or 3, **chosen)
    click.echo("  ".join(f"{label} {score:.3f}" for label, score in result.scores.items()))


def tagged(model: Any, text: str, chosen: dict[str, Any], _: dict[str, Any]) -> None:
    """Entities, where the tags make some; else every word with its tag."""
    result = model.tag(text, **chosen)
    if result.spans or set(result.tags) <= {"O"}:
        found = "  ".join(f"{span.text} [{span.label} {span.score:.3f}]" for span in result.spans)
        click.echo(found or "no entities")
    else:
        click.echo(
            "  ".join(f"{word} [{tag} {p:.3f}]" for word, tag, p in zip(result.words, result.tags, result.scores))
        )


def predicted(model: Any, text: str, chosen: dict[str, Any], _: dict[str, Any]) -> None:
    click.echo(f"{model.regress(text, **chosen).value:.4f}")
