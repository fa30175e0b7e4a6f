"""Records what becomes of control tokens that somebody typed: python tests/golden/control_tokens.py

The ids in `control_tokens.json` are the Python runtime's; its tests hold them against transformers' own splitting.
Every other language must give the same.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from edgetune_runtime.chat_template import ChatTemplate
from edgetune_runtime.tokenizer import Tokenizer

sys.path.insert(0, str(Path(__file__).parents[1]))
from references.control_tokens import CHATML, MADE, ORDINARY, TYPED, made

GOLDEN = Path(__file__).parent


def cases(tokenizer: Tokenizer) -> list[dict[str, Any]]:
    """Of each text its ids, with the text's control tokens as characters and in control, and those of a chat."""
    found = []
    for text in [*TYPED, *(x for x in ORDINARY if x)]:
        said = ChatTemplate(CHATML, {}).rendered([{"role": "user", "content": tokenizer.hidden(text)}])
        found.append(
            {
                "text": text,
                "ids": tokenizer.encode(text),
                "controlling": tokenizer.encode(text, split_special_tokens=False),
                "chat": tokenizer.encode_filled(said, add_special_tokens=False),
            }
        )
    return found


def recorded() -> dict[str, Any]:
    tokenizers = {name: made(name) for name in MADE}
    return {
        "template": CHATML,
        "tokenizers": [
            {"name": name, "tokenizer": json.loads(inner.to_str()), "cases": cases(Tokenizer(inner))}
            for name, inner in tokenizers.items()
        ],
    }


if __name__ == "__main__":
    text = json.dumps(recorded(), ensure_ascii=False)
    (GOLDEN / "control_tokens.json").write_text(text + "\n", encoding="utf-8")
