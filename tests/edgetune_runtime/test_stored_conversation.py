"""A conversation comes back from its file as it was, or not at all."""

import dataclasses
import json
import math
import os
import stat
from pathlib import Path

import edgetune_runtime
import numpy as np
import pytest
from edgetune_runtime import AdapterError, ConversationError, EdgetuneError
from edgetune_runtime.checked import Fields
from edgetune_runtime.stored_conversation import (
    DIGEST_KEY,
    METADATA_KEY,
    digest_of,
    options_as_json,
    options_from_json,
)
from references.chat_templates import with_template
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from .test_conversation import SHORT, TEXTS, Counted, anew, asked, choices_of, ids_of, outcome

pytest.importorskip("jinja2")
GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture
def saved(decoder, tmp_path):
    """A conversation of two turns, and its file."""
    conversation = decoder.chat(template=SHORT, system="be good", overflow="slide", max_new_tokens=5)
    for text in TEXTS[:2]:
        conversation.send(text)
    path = tmp_path / "chat.safetensors"
    conversation.save(path)
    return conversation, path


def test_after_a_restart_the_next_turn_computes_new_tokens_alone(decoder, decoder_folder, tmp_path, monkeypatch):
    other = edgetune_runtime.load(decoder_folder, threads=1)
    for i, name in enumerate(choices_of(decoder)):
        conversation = decoder.chat(adapter=name, template=SHORT, max_new_tokens=5, system="be good")
        for text in TEXTS[:2]:
            conversation.send(text)
        conversation.save(tmp_path / f"{i}.safetensors")
        again = other.load_chat(tmp_path / f"{i}.safetensors")
        assert (again.messages, again.adapter) == (conversation.messages, conversation.adapter)
        assert (again.token_count, again.positions) == (conversation.token_count, conversation.positions)
        with monkeypatch.context() as patched:
            here, there = Counted(decoder.decoder, patched), Counted(other.decoder, patched)
            for text in TEXTS[2:4]:
                messages = asked(again, text)
                here.tokens = there.tokens = 0
                found = again.send(text)
                assert outcome(found) == outcome(conversation.send(text))
                assert there.tokens == here.tokens < len(ids_of(decoder, messages))
                assert outcome(found) == outcome(anew(decoder, messages, adapter=name, max_new_tokens=5))


def test_a_conversation_goes_on_behind_its_save(saved, decoder):
    conversation, path = saved
    before = decoder.load_chat(path).messages
    messages = asked(conversation, "no")
    assert outcome(conversation.send("no")) == outcome(anew(decoder, messages, max_new_tokens=5))
    assert decoder.load_chat(path).messages == before


def test_policy_options_and_a_template_of_its_own_come_back(decoder, tmp_path):
    path = tmp_path / "chat"
    options = {"temperature": 0.9, "seed": 4, "logit_bias": {7: -math.inf, 8: 1.5}, "stop": ["x"], "max_new_tokens": 6}
    conversation = decoder.chat(template=SHORT, overflow="slide", on_chunk=print, **options)
    conversation.save(path)
    again = decoder.load_chat(path)
    assert again.messages == [] and again.token_count == 0
    for i in range(12):
        text = TEXTS[i % len(TEXTS)]
        assert outcome(again.send(text)) == outcome(conversation.send(text, on_chunk=None))
    assert again.messages == conversation.messages and len(again.messages) < 24, "both slid"


def test_options_survive_json():
    options = {"logit_bias": {np.int64(3): 1, 4: -math.inf}, "temperature": 0.5, "cancel": object(), "stop": ("a",)}
    kept = options_from_json(Fields(json.loads(json.dumps(options_as_json(options))), "x", ConversationError))
    assert kept == {"logit_bias": {3: 1.0, 4: -math.inf}, "temperature": 0.5, "stop": ["a"]}


BIASES = [3, [3], [[1, 2, 3]], [[[], 1]], [["a", 1]], [[1, "a"]], "ab", {"a": 1}, [[math.inf, 1]]]


@pytest.mark.parametrize("bias", BIASES, ids=repr)
def test_a_bias_that_is_no_list_of_pairs_is_refused(bias):
    with pytest.raises(ConversationError, match="logit_bias"):
        options_from_json(Fields({"logit_bias": bias}, "x", ConversationError))


def test_a_template_of_the_bundle_is_the_bundles(tmp_path):
    model = edgetune_runtime.load(with_template(GOLDEN / "decoder-shared", tmp_path / "bundle", SHORT), threads=1)
    conversation = model.chat(max_new_tokens=4)
    messages = asked(conversation, "why")
    assert outcome(conversation.send("why")) == outcome(anew(model, messages, max_new_tokens=4))
    conversation.save(tmp_path / "chat")
    assert SHORT not in (tmp_path / "chat").read_bytes().decode("latin-1")
    messages = asked(conversation, "no")
    assert outcome(model.load_chat(tmp_path / "chat").send("no")) == outcome(anew(model, messages, max_new_tokens=4))


def test_an_altered_template_of_a_bundle_is_an_altered_file(tmp_path):
    folder = with_template(GOLDEN / "decoder-shared", tmp_path / "bundle", SHORT)
    (folder / "chat_template.jinja").write_text(SHORT.replace("a:", "b:"))
    with pytest.raises(edgetune_runtime.BundleError, match=r"chat_template\.jinja: its SHA-256"):
        edgetune_runtime.load(folder)


def test_another_base_or_precision_is_refused_by_both_names(saved, decoder, monkeypatch):
    _, path = saved
    manifest = decoder.manifest
    other = dataclasses.replace(manifest, base=dataclasses.replace(manifest.base, fingerprint="sha256:beef"))
    for changed, was, here in (
        (other, manifest.base.fingerprint, "sha256:beef"),
        (dataclasses.replace(manifest, precision="int4"), manifest.precision, "int4"),
    ):
        monkeypatch.setattr(decoder, "manifest", changed)
        with pytest.raises(ConversationError) as refused:
            decoder.load_chat(path)
        assert was in str(refused.value) and here in str(refused.value) and str(path) in str(refused.value)


def test_another_adapter_of_the_same_name_is_refused_by_both_fingerprints(tmp_path):
    model = edgetune_runtime.load(GOLDEN / "decoder-shared", threads=1)
    model.chat(adapter="three", template=SHORT, max_new_tokens=3).save(tmp_path / "chat")
    model.add_adapter(GOLDEN / "decoder-shared" / "adapters" / "seven.safetensors", "three", replace=True)
    with pytest.raises(ConversationError, match=r"the adapter sha256:(\w{64}), .* has sha256:(?!\1)\w{64}"):
        model.load_chat(tmp_path / "chat")
    model.add_adapter(GOLDEN / "decoder-shared" / "adapters" / "three.safetensors", "three", replace=True)
    assert model.load_chat(tmp_path / "chat").adapter == "three"


def test_an_adapter_that_is_not_here_is_named(tmp_path):
    model = edgetune_runtime.load(GOLDEN / "decoder-shared", threads=1)
    model.chat(adapter="seven", template=SHORT).save(tmp_path / "chat")
    model.remove_adapter("seven")
    with pytest.raises(AdapterError, match="'seven'"):
        model.load_chat(tmp_path / "chat")


def test_the_forms_do_not_read_each_other(loaded, tmp_path):
    shared, alone = (loaded(GOLDEN / name) for name in ("decoder-shared", "decoder-standalone"))
    for one, other in ((shared, alone), (alone, shared)):
        conversation = one.chat(adapter="three", template=SHORT, max_new_tokens=3)
        conversation.send("why")
        conversation.save(tmp_path / "chat")
        with pytest.raises(ConversationError, match="form"):
            other.load_chat(tmp_path / "chat")


def test_a_damaged_file_is_an_error_of_ours_wherever_the_damage_is(saved, decoder):
    _, path = saved
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    rng = np.random.default_rng(0)
    places = {*range(8), *rng.integers(8, header, 250).tolist(), *rng.integers(header, len(whole), 60).tolist()}
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(ConversationError, match=path.name):
            decoder.load_chat(path)
    for length in (0, 4, 8, header - 1, header, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ConversationError, match=path.name):
            decoder.load_chat(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(ConversationError, match=path.name):
        decoder.load_chat(path)


def test_what_is_no_conversation_is_named(decoder, tmp_path):
    with pytest.raises(ConversationError, match="no such file"):
        decoder.load_chat(tmp_path / "none")
    with pytest.raises(ConversationError, match="no such file"):
        decoder.load_chat(tmp_path)
    with pytest.raises(ConversationError, match="holds no conversation"):
        decoder.load_chat(GOLDEN / "decoder-shared" / "adapters" / "three.safetensors")


def test_a_newer_version_is_refused_by_its_number(saved, decoder, monkeypatch):
    conversation, path = saved
    monkeypatch.setattr("edgetune_runtime.stored_conversation.FORMAT_VERSION", 2)
    conversation.save(path)
    monkeypatch.undo()
    with pytest.raises(ConversationError, match=r"`format_version` is 2, .* reads 1"):
        decoder.load_chat(path)


def test_a_file_that_cannot_be_written_leaves_what_was_there(saved, tmp_path, monkeypatch):
    conversation, path = saved
    before = path.read_bytes()
    with pytest.raises(ConversationError, match="cannot be saved"):
        conversation.save(tmp_path / "none" / "chat")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(ConversationError, match="No space left"):
        conversation.save(path)
    assert path.read_bytes() == before and [x.name for x in tmp_path.iterdir()] == [path.name]
    assert isinstance(ConversationError("x"), EdgetuneError)


@pytest.mark.parametrize("spoil", ["shape", "tokens", "layer", "nothing"])
def test_keys_and_values_that_are_not_those_of_the_tokens_are_refused(saved, decoder, spoil):
    _, path = saved
    with safe_open(path, framework="np") as file:
        text = file.metadata()[METADATA_KEY]
    tensors = load_file(path)
    if spoil == "shape":
        tensors["past_key_values.1.value"] = tensors["past_key_values.1.value"][:, :1]
    elif spoil == "tokens":
        tensors["token_ids"] = tensors["token_ids"][1:]
    elif spoil == "layer":
        del tensors["past_key_values.1.key"]
    else:
        del tensors["token_ids"]
    tensors = {name: np.ascontiguousarray(x) for name, x in tensors.items()}
    save_file(tensors, path, {METADATA_KEY: text, DIGEST_KEY: digest_of(text, tensors)})
    with pytest.raises(ConversationError, match=path.name):
        decoder.load_chat(path)


def test_the_file_holds_the_text_of_the_cache_without_virtual_tokens(saved, decoder):
    conversation, path = saved
    tensors = load_file(path)
    assert len(tensors["token_ids"]) == conversation.token_count
    virtual = 0 if decoder.manifest.form == "shared" else decoder.adapters[conversation.adapter].virtual_tokens
    lengths = {x.shape[2] for name, x in tensors.items() if name != "token_ids"}
    assert lengths == {conversation.token_count + virtual}


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX's")
def test_nobody_else_reads_the_file(saved):
    _, path = saved
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
