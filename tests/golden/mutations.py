"""Records changes of a signed bundle, and makes the long list of them.

python tests/golden/mutations.py              the short list that tests take
python tests/golden/mutations.py --single 20000 --structural 2000 --run

The second runs the long one, in Python and, where its tests are built, in JavaScript.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from edgetune_runtime.errors import EdgetuneError
from edgetune_runtime.signed_files import verify

sys.path.insert(0, str(Path(__file__).parents[1]))
from references.mutations import SIGNATURE, changed, single_bytes, structural

GOLDEN = Path(__file__).parent
BUNDLE = "encoder-shared"


def signed_files() -> tuple[dict[str, bytes], str]:
    """A golden bundle's files with a signature, and the key to trust."""
    recorded = json.loads((GOLDEN / "signatures.json").read_text("utf-8"))
    found = next(x for x in recorded["cases"] if x.get("bundle") == BUNDLE and x["expected"] is None)
    root = GOLDEN / BUNDLE
    listed = json.loads((root / "bundle.json").read_text("utf-8"))["files"]
    files = {name: (root / name).read_bytes() for name in ("bundle.json", *listed)}
    return {**files, SIGNATURE: found["signature"].encode()}, recorded["keys"][found["keys"][0]]


def accepted(files: dict[str, bytes], key: str, changes: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """The changes after which the bundle is still taken."""
    found = []
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    verify(folder, key)
    for change in changes:
        after = changed(files, change)
        touched = {change["file"], change.get("other", change["file"])}
        for name in touched:
            (folder / name).write_bytes(after[name]) if name in after else (folder / name).unlink()
        try:
            verify(folder, key)
            found.append(change)
        except EdgetuneError:
            pass
        for name in touched:
            (folder / name).write_bytes(files[name])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--single", type=int, default=200)
    parser.add_argument("--structural", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", action="store_true")
    asked = parser.parse_args()
    files, key = signed_files()
    rng = random.Random(asked.seed)
    changes = single_bytes(files, asked.single, rng) + structural(files, asked.structural, rng)
    if not asked.run:
        said = {"bundle": BUNDLE, "key": key, "signature": files[SIGNATURE].decode(), "changes": changes}
        (GOLDEN / "mutations.json").write_text(json.dumps(said) + "\n", encoding="utf-8")
        return 0
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        began = time.perf_counter()
        wrong = accepted(files, key, changes, Path(folder) / "bundle")
        print(
            f"Python: {len(changes)} changes in {time.perf_counter() - began:.0f} s, {len(wrong)} accepted {wrong[:5]}"
        )
        test, path = GOLDEN.parents[1] / "runtime/js/build/mutations.test.js", Path(folder) / "changes.json"
        if shutil.which("node") is None or not test.exists():
            print("JavaScript: is not built here: cd runtime/js && npm test")
            return bool(wrong)
        said = {"bundle": BUNDLE, "key": key, "signature": files[SIGNATURE].decode(), "changes": changes}
        path.write_text(json.dumps(said), encoding="utf-8")
        told = subprocess.run(
            ["node", "--test", "--test-reporter=spec", test], env={**os.environ, "EDGETUNE_MUTATIONS": str(path)},
            capture_output=True, text=True, cwd=test.parents[1],
        )  # fmt: skip
        print("JavaScript:", *(x.strip() for x in told.stdout.splitlines() if "changes" in x))
        return bool(wrong) or told.returncode


if __name__ == "__main__":
    sys.exit(main())
