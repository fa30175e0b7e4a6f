"""The same readers under atheris, which looks for inputs that reach new code.

python tests/fuzz/guided.py manifest -runs=10000

What it finds new goes to the reader's folder in `tests/fuzz/corpus`; its options are libFuzzer's. Atheris is not
installed with the rest: `pip install atheris` (Linux).
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
import atheris  # type: ignore[import-not-found]  # noqa: E402

with atheris.instrument_imports(include=["edgetune_runtime"]):
    from run import CORPUS, corpus_of, problem
    from targets import TARGETS


def main() -> None:
    name, *options = sys.argv[1:]
    target, folder = TARGETS[name], CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    seeds = Path(f"/tmp/edgetune-seeds-{name}")
    seeds.mkdir(exist_ok=True)
    for i, data in enumerate(corpus_of(name, target)):
        (seeds / str(i)).write_bytes(data)

    def one(data: bytes) -> None:
        what = problem(target, data)
        if what is not None:
            raise RuntimeError(f"{name}: {what}")

    atheris.Setup([sys.argv[0], str(folder), str(seeds), *options], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
