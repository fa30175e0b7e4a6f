"""Fixtures over the golden bundles: `tests/golden/<name>/`, tiny bundles that every language's runtime is tested with.

`EDGETUNE_GOLDEN` names another folder of bundles. Beside its `bundle.json` a bundle has an `expected.json`, a list of
cases:

    {"call": "generate", "inputs": "once upon a time", "options": {"adapter": "three", "max_new_tokens": 8},
     "expected": {"text": "…", "token_ids": [5, 6], "finish_reason": "length"}}

A decoder has more of them in `options.json`, which `tests/golden/options.py` records. Bundles in `methods/`, whose
adapters use the options of the methods, answer their cases alone.

| call | inputs | expected |
| --- | --- | --- |
| `classify` | a text | `{"label", "score", "scores"}`; scores are compared within the tolerance, their order exactly |
| `regress` | a text | `{"value"}`, compared within the tolerance |
| `generate` | a text | `{"text", "token_ids", "finish_reason"}`, `others`, compared exactly; `stream` gives the same |
| `logits`, `step_logits` | token ids `[T]` | `[T][V]`, or `[keep][V]` with the option `keep` |
| `class_logits` | a list of token ids | `[B][C]` |
| `encode` | a text | token ids |
| `decode` | token ids | a string |
| `random` | a seed | the first 32-bit integers of its stream: see `randomness.py` |

A text is a string, `{"text", "pair"}` for a pair, or a list of token ids; a list of texts (of strings, pairs or lists)
is a batch, and `expected` is then a list as long. `options` are keyword arguments by their Python names (JavaScript:
camelCase); an absent `adapter` is the default one, `null` the bare base, a list one per text. A case may have a
`tolerance` (absolute, for scores and logits; 1e-4 if it has none), and `expected` may be `{"error": "AdapterError"}`:
the name of the error class that the call raises.
"""

import json
import os
from pathlib import Path

import edgetune_runtime
import pytest

GOLDEN = Path(os.environ.get("EDGETUNE_GOLDEN") or Path(__file__).parents[1] / "golden")


def golden_folders(kind=None):
    """Folders of all golden bundles, or of those of one kind."""
    folders = sorted(path.parent for path in GOLDEN.glob("*/bundle.json"))
    return [x for x in folders if kind in (None, json.loads((x / "bundle.json").read_text("utf-8"))["kind"])]


def pytest_generate_tests(metafunc):
    for fixture, kind in (("bundle_folder", None), ("encoder_folder", "encoder"), ("decoder_folder", "decoder")):
        if fixture in metafunc.fixturenames and not (fixture == "bundle_folder" and "case" in metafunc.fixturenames):
            metafunc.parametrize(fixture, golden_folders(kind), ids=lambda x: x.name, scope="session")
    if "case" in metafunc.fixturenames:
        folders = sorted(path.parent for path in GOLDEN.rglob("bundle.json"))
        rows = [(x, case) for x in folders for case in expected_cases(x)]
        names = [f"{x.relative_to(GOLDEN)}-{i}-{case['call']}" for i, (x, case) in enumerate(rows)]
        metafunc.parametrize(("bundle_folder", "case"), rows, ids=names, scope="session")


def expected_cases(folder):
    """The cases of one bundle."""
    files = [folder / name for name in ("expected.json", "options.json")]
    return [case for path in files if path.exists() for case in json.loads(path.read_text("utf-8"))]


@pytest.fixture(scope="session")
def loaded():
    """Loads every bundle once."""
    models = {}

    def load(folder):
        if folder not in models:
            models[folder] = edgetune_runtime.load(folder, threads=1)
        return models[folder]

    return load


@pytest.fixture
def bundle(bundle_folder, loaded):
    return loaded(bundle_folder)


@pytest.fixture
def encoder(encoder_folder, loaded):
    return loaded(encoder_folder)


@pytest.fixture
def decoder(decoder_folder, loaded):
    return loaded(decoder_folder)
