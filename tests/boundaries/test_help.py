"""`docs/help.md` is what the commands themselves say. After a change: python tests/boundaries/test_help.py --write"""

import sys
from pathlib import Path

from click.testing import CliRunner

from edgetune.cli import COMMANDS, edgetune

PAGE = Path(__file__).parents[2] / "docs" / "help.md"
WIDTH = 100
REGENERATE = "python tests/boundaries/test_help.py --write"


def help_of(*command: str) -> str:
    result = CliRunner().invoke(edgetune, [*command, "--help"], prog_name="edgetune", terminal_width=WIDTH)
    assert result.exit_code == 0, result.output
    return f"```\n{result.output.strip()}\n```"


def page() -> str:
    head = f"# Commands\n\nWritten by `{REGENERATE}` from the commands' own `--help`."
    parts = [head, help_of(), *(f"## edgetune {name}\n\n{help_of(name)}" for name in COMMANDS)]
    return "\n\n".join(parts) + "\n"


def test_the_help_page_is_what_the_commands_say():
    assert PAGE.read_text("utf-8") == page(), f"{PAGE.name} is out of date; run: {REGENERATE}"


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(page(), encoding="utf-8")
    else:
        sys.exit(f"usage: {REGENERATE}")
