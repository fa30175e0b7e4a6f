"""The command line: one command a module; every error of ours is one line on stderr and exit code 1, here alone."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from typing import Any

import click

from edgetune import __version__
from edgetune.commands.launched import refuse_alone
from edgetune.errors import EdgetuneError, Terminated

COMMANDS = {
    "demo": "Tune, export and run on real data, offline, in a few minutes.",
    "train": "Tune a prompt or a prefix on your rows.",
    "evaluate": "Measure an adapter, or the bundle that ships.",
    "export": "Write a bundle for the device and verify it.",
    "bake": "Turn a text into an adapter, without training.",
    "add-adapter": "Add one more task to a bundle.",
    "keygen": "Make a key pair to sign with.",
    "sign": "Sign a bundle or an adapter.",
    "verify": "Check who signed a bundle or an adapter, and that it is whole.",
    "inspect": "Say what is in an adapter or a bundle.",
    "run": "Classify or generate with a bundle, in the terminal.",
    "bench": "Measure a bundle's speed and memory on this machine.",
    "compare": "Compare prompts and prefixes on your rows, and recommend one.",
    "sweep": "Search methods, lengths, starts and learning rates for the best.",
    "import-peft": "Turn an adapter of Hugging Face PEFT into one of ours.",
    "export-peft": "Turn an adapter into one that Hugging Face PEFT loads.",
}


class Lazy(click.Group):
    """Commands are imported when they are called: `--help` never waits for torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"edgetune.commands.{cmd_name.replace('-', '_')}")
        return module.command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Lazy)
@click.version_option(__version__, prog_name="edgetune")
@click.option("--verbose", is_flag=True, help="Log what libraries do; show tracebacks.")
@click.pass_context
def edgetune(context: click.Context, verbose: bool) -> None:
    """Tune a small language model for a task and put it on a device."""
    refuse_alone(context.invoked_subcommand)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(message)s", stream=sys.stderr)
    if not verbose:
        quiet()


def quiet() -> None:
    """Other people's libraries keep their advice to themselves."""
    import warnings

    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    warnings.filterwarnings("ignore")
    for name in ("transformers", "torch", "datasets", "optimum", "onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.ERROR)


def expected_errors() -> tuple[type[BaseException], ...]:
    """Ours, the runtime's, and what the machine itself refuses (a full disk, a missing right)."""
    from edgetune_runtime.errors import EdgetuneError as RuntimeError_

    return EdgetuneError, RuntimeError_, OSError, MemoryError


def main(arguments: list[str] | None = None) -> Any:
    """Entry point; returns after a success, exits with 1 after an error, 2 after wrong usage, 130 after Ctrl-C, 143
    after SIGTERM.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        edgetune.main(args=arguments, prog_name="edgetune", standalone_mode=False)
    except click.ClickException as error:
        if os.environ.get("LOCAL_RANK", "0") == "0":  # of those that a launcher starts, all have the same to say
            error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("edgetune: stopped; nothing was left half-written", err=True)
        sys.exit(130)
    except Terminated as ending:
        click.echo(f"edgetune: {ending}", err=True)
        sys.exit(143)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except expected_errors() as error:
        if "--verbose" in arguments:
            raise
        click.echo(f"edgetune: {' '.join(str(error).split()) or type(error).__name__}", err=True)
        sys.exit(1)
