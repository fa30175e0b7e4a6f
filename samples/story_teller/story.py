"""Streams a story: python story.py BUNDLE PROMPT [ADAPTER]"""

import sys

import edgetune_runtime


def tell(bundle: str, prompt: str, *adapter: str) -> None:
    model = edgetune_runtime.load(bundle)
    named = {"adapter": adapter[0]} if adapter else {}  # otherwise the bundle's first, or the base alone
    print(prompt, end="", flush=True)
    for chunk in model.stream(prompt, max_new_tokens=200, **named):
        print(chunk.text, end="", flush=True)
    print()


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: python story.py BUNDLE PROMPT [ADAPTER]")
    try:
        tell(*sys.argv[1:])
    except edgetune_runtime.EdgetuneError as error:
        sys.exit(f"story: {error}")
