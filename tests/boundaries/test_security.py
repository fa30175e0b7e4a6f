"""What SECURITY.md promises is held by tests that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [x for x in (ROOT / "SECURITY.md").read_text("utf-8").splitlines() if x.startswith("| ")][2:]
NAMED = re.compile(r"`((?:tests|runtime|benchmarks)/[^`:\s]+)(?:::(\w+))?[^`]*`")


@pytest.mark.parametrize("row", ROWS, ids=lambda x: x.split("|")[1].strip())
def test_every_threat_is_held_by_tests_that_exist(row):
    held = NAMED.findall(row.split("|")[3])
    assert held, row
    for path, name in held:
        text = (ROOT / path).read_text("utf-8")
        assert not name or f"\ndef {name}(" in text, f"{path} has no {name}"


def test_the_table_is_there():
    assert len(ROWS) > 15
