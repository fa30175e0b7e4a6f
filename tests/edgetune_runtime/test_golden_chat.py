"""Conversations and templates answer what `chat.json` says, in every language: `tests/golden/chat.py` records it."""

import json

import edgetune_runtime
import pytest
from edgetune_runtime.chat_template import ChatTemplate

from .conftest import GOLDEN

pytest.importorskip("jinja2")
CHAT = json.loads((GOLDEN / "chat.json").read_text("utf-8"))


@pytest.mark.parametrize("recorded", CHAT["conversations"], ids=lambda x: f"{x['bundle']}-{x['chat']}")
def test_a_conversation_is_the_recorded_one(recorded, loaded):
    conversation = loaded(GOLDEN / recorded["bundle"]).chat(template=CHAT["template"], **recorded["chat"])
    for turn in recorded["turns"]:
        answer = conversation.send(turn["text"])
        found = {"text": answer.text, "token_ids": answer.token_ids, "finish_reason": answer.finish_reason}
        assert found == turn["expected"]
        assert conversation.token_count == turn["token_count"]
    assert conversation.messages == recorded["messages"]


@pytest.mark.parametrize("recorded", CHAT["rendered"], ids=lambda x: x["template"])
def test_a_template_writes_the_recorded_text(recorded):
    template = ChatTemplate(CHAT["templates"][recorded["template"]], CHAT["tokens"])
    if recorded["text"] is None:
        with pytest.raises(edgetune_runtime.InputError):
            template.rendered(recorded["messages"])
    else:
        assert template.rendered(recorded["messages"]) == recorded["text"]
