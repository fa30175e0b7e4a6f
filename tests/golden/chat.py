"""Records conversations, and what chat templates make of messages: python tests/golden/chat.py

The answers in `chat.json` are the Python runtime's own; its tests hold them against transformers' templates and against
whole texts computed anew. Every other language must give the same, token by token.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import edgetune_runtime
from edgetune_runtime.chat_template import ChatTemplate

sys.path.insert(0, str(Path(__file__).parents[1]))
from references.chat_templates import TEMPLATES

GOLDEN = Path(__file__).parent
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
SHORT = """{{ bos_token }}{% for m in messages %}{{ m.role[0] }}: {{ m.content }}
{% endfor %}a:"""
TURNS = ["once upon", "will it rain", "why", "no"]
USER, ASSISTANT, SYSTEM = "user", "assistant", "system"


def said(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in pairs]


MESSAGES = [
    said((USER, "Hi")),
    said((SYSTEM, "Be brief."), (USER, "Hi")),
    said((USER, "Hi"), (ASSISTANT, "<think>well</think>\n\nHello"), (USER, " and\n'now' \"you\"? 🙂 ")),
    said((SYSTEM, ""), (USER, "1"), (ASSISTANT, "2"), (USER, "3"), (ASSISTANT, "4"), (USER, "5")),
    said((ASSISTANT, "I begin"), (USER, "so be it")),
]
CONVERSATIONS: list[dict[str, Any]] = [
    {"bundle": "decoder-shared", "chat": {"adapter": "seven", "max_new_tokens": 6}},
    {"bundle": "decoder-shared", "chat": {"adapter": None, "system": "a day", "max_new_tokens": 6}},
    {"bundle": "decoder-shared", "chat": {"temperature": 1.0, "seed": 4, "max_new_tokens": 8, "stop": ["e"]}},
    {"bundle": "decoder-shared", "chat": {"system": "so", "overflow": "slide", "max_new_tokens": 30}},
    {"bundle": "decoder-shared", "chat": {"system": "once </s><s> u: upon</", "max_new_tokens": 6}},
    {"bundle": "decoder-standalone", "chat": {"max_new_tokens": 6, "messages": said((USER, "a"), (ASSISTANT, "b"))}},
    {"bundle": "decoder-standalone", "chat": {"overflow": "slide", "max_new_tokens": 40}},
    {"bundle": "methods/decoder", "chat": {"adapter": "both", "max_new_tokens": 6}},
    {"bundle": "methods/decoder", "chat": {"adapter": "uneven", "max_new_tokens": 6}},
]


def rendered(name: str, messages: list[dict[str, str]]) -> dict[str, Any]:
    """A case of one template; `text` is null where it does not take the messages."""
    try:
        text = ChatTemplate(TEMPLATES[name], TOKENS).rendered(messages)
    except edgetune_runtime.InputError:
        text = None
    return {"template": name, "messages": messages, "text": text}


def held(case: dict[str, Any]) -> dict[str, Any]:
    """A conversation of which each turn has its answer and what the cache holds then."""
    model = edgetune_runtime.load(GOLDEN / case["bundle"], threads=1)
    conversation = model.chat(template=SHORT, **case["chat"])
    turns = []
    for text in TURNS:
        answer = conversation.send(text)
        expected = {
            "text": answer.text,
            "token_ids": list(map(int, answer.token_ids)),
            "finish_reason": answer.finish_reason,
        }
        turns.append({"text": text, "expected": expected, "token_count": conversation.token_count})
    return {**case, "turns": turns, "messages": conversation.messages}


def recorded() -> dict[str, Any]:
    return {
        "tokens": TOKENS,
        "templates": TEMPLATES,
        "rendered": [rendered(name, messages) for name in TEMPLATES for messages in MESSAGES],
        "template": SHORT,
        "conversations": [held(case) for case in CONVERSATIONS],
    }


if __name__ == "__main__":
    text = json.dumps(recorded(), ensure_ascii=False, indent=1)
    (GOLDEN / "chat.json").write_text(text + "\n", encoding="utf-8")
