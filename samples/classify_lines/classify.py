"""Labels each line of standard input: python classify.py BUNDLE < lines.txt"""

import sys

import edgetune_runtime


def label_lines(bundle: str) -> None:
    model = edgetune_runtime.load(bundle)
    for line in sys.stdin:
        text = line.strip()
        if text:
            answer = model.classify(text)
            print(f"{answer.label}\t{answer.score:.2f}\t{text}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python classify.py BUNDLE < lines.txt")
    try:
        label_lines(sys.argv[1])
    except edgetune_runtime.EdgetuneError as error:
        sys.exit(f"classify: {error}")
