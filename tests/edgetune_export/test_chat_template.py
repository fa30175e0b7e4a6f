"""A chat model's template goes into its bundle, and conversations over it are transformers' own."""

import json

import edgetune_runtime
import pytest
import torch
from boundaries import tiny_models
from edgetune_export.bake import baked
from edgetune_export.bundle import export_bundle
from edgetune_export.manifest import chat_template
from references.chat_templates import TEMPLATES

from edgetune.models.base import base_from

SYSTEM = "Be good."


def chat_base(template):
    model, tokenizer = tiny_models.decoder()
    tokenizer.chat_template = template
    return base_from(model, tokenizer, "tiny-chat", "generate")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A base and its bundle, with a baked text."""
    base = chat_base({"default": TEMPLATES["llama_2"], "tools": "{{ tools }}"})
    folder = tmp_path_factory.mktemp("chat") / "b"
    export_bundle(base, {"baked": baked(base, "once upon")}, folder)
    return base, edgetune_runtime.load(folder, threads=1), folder


@torch.no_grad()
def written(base, ids, count):
    """By transformers' own generate, without an end token."""
    found = base.model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=count)[0, len(ids) :].tolist()
    return found[: found.index(base.eos_token_ids[0])] if base.eos_token_ids[0] in found else found


def rendered(base, conversation, text, template=None):
    messages = [*conversation.messages, {"role": "user", "content": text}]
    options = {"chat_template": template, "add_generation_prompt": True, "return_dict": True}
    return list(base.tokenizer.apply_chat_template(messages, **options)["input_ids"])


@pytest.mark.parametrize("name", [None, "mistral", "zephyr", "alpaca"])
def test_a_conversation_over_an_exported_bundle_is_that_of_transformers(made, name):
    base, model, _ = made
    template = TEMPLATES.get(name)
    conversation = model.chat(adapter=None, system=SYSTEM, template=template, max_new_tokens=8)
    for text in ("hi", "no", "é?"):
        ids = rendered(base, conversation, text, template)
        assert conversation.send(text).token_ids == written(base, ids, 8)


def test_behind_a_baked_text_the_token_that_begins_a_text_does_not_come_again(made):
    base, model, _ = made
    front = base.tokenizer("once upon").input_ids
    conversation = model.chat(adapter="baked", max_new_tokens=8)
    for text in ("hi", "no"):
        ids = rendered(base, conversation, text)
        behind = ids[1:] if ids[0] == base.tokenizer.bos_token_id else ids
        assert conversation.send(text).token_ids == written(base, [*front, *behind], 8)


def test_the_manifest_names_the_template_and_its_tokens(made):
    base, model, folder = made
    described = json.loads((folder / "bundle.json").read_text("utf-8"))
    assert described["tokenizer"]["chat_template_file"] == "chat_template.jinja"
    assert described["tokenizer"]["special_tokens"] == base.tokenizer.special_tokens_map
    assert (folder / "chat_template.jinja").read_text("utf-8") == TEMPLATES["llama_2"], "of several the default one"
    assert "chat_template.jinja" in described["files"]
    assert model.chat_template.source == TEMPLATES["llama_2"]


def test_a_model_without_a_template_has_none():
    assert chat_template(chat_base(None)) is None
    assert chat_template(chat_base(TEMPLATES["chatml"])) == TEMPLATES["chatml"]
