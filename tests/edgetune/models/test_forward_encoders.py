"""Encoders against attention written out by hand, transformers' eager attention and PEFT."""

import pytest
import torch
import transformers

from edgetune.models.base import base_from
from edgetune.models.forward import full_mask, hidden_states, run, token_types
from edgetune.models.virtual import NOTHING, Virtual

from ..tiny import CLS, ENCODERS, SEP, batch_of, eager, ids_of, model_of, random_prefix, random_prompt, tokenizer_of

close = dict(rtol=0, atol=2e-5)


@pytest.fixture(params=list(ENCODERS))
def encoder(request, base):
    return base(request.param)


@torch.no_grad()
def our_hidden(base, rows, virtual=NOTHING):
    """One `[T, H]` a row, of a padded batch."""
    ids, mask = batch_of(rows, base.pad_token_id)
    hidden = hidden_states(base, ids, full_mask(mask, virtual), virtual)
    return [row[: len(text)] for row, text in zip(hidden, rows)]


def attended_by_hand(query, key, value, prefix, heads):
    """`[T, H]` each and a prefix `[1, N, P, D]` → `[T, H]`, head by head: softmax(q·[p; k] / √D) · [v_p; v]."""
    found = []
    for n, (q, k, v) in enumerate(zip(query.chunk(heads, -1), key.chunk(heads, -1), value.chunk(heads, -1))):
        k, v = torch.cat([prefix[0][0, n], k]), torch.cat([prefix[1][0, n], v])
        found.append(torch.softmax(q @ k.T / q.shape[-1] ** 0.5, -1) @ v)
    return torch.cat(found, -1)


def bert_by_hand(model, ids, prefix):
    """A post-norm BERT from its own weights, positions from P on."""
    first = prefix[0][0].shape[2]
    e = model.embeddings
    x = (
        e.word_embeddings(ids)
        + e.position_embeddings.weight[first : first + len(ids)]
        + e.token_type_embeddings.weight[0]
    )
    x = e.LayerNorm(x)
    for layer, past in zip(model.encoder.layer, prefix):
        a = layer.attention
        found = attended_by_hand(
            a.self.query(x), a.self.key(x), a.self.value(x), past, model.config.num_attention_heads
        )
        x = a.output.LayerNorm(a.output.dense(found) + x)
        x = layer.output.LayerNorm(layer.output.dense(torch.nn.functional.gelu(layer.intermediate.dense(x))) + x)
    return x


def albert_by_hand(model, ids, prefix):
    """ALBERT: one layer's weights run once for every prefix."""
    first = prefix[0][0].shape[2]
    e = model.embeddings
    x = (
        e.word_embeddings(ids)
        + e.position_embeddings.weight[first : first + len(ids)]
        + e.token_type_embeddings.weight[0]
    )
    x = model.encoder.embedding_hidden_mapping_in(e.LayerNorm(x))
    (layer,) = model.encoder.albert_layer_groups[0].albert_layers
    for past in prefix:
        a = layer.attention
        found = attended_by_hand(a.query(x), a.key(x), a.value(x), past, model.config.num_attention_heads)
        x = a.LayerNorm(a.dense(found) + x)
        x = layer.full_layer_layer_norm(layer.ffn_output(layer.activation(layer.ffn(x))) + x)
    return x


@pytest.mark.parametrize("family, by_hand", [("bert", bert_by_hand), ("albert", albert_by_hand)])
def test_prefix_equals_attention_written_by_hand(base, family, by_hand):
    (ids,), prefix = ids_of(7), random_prefix(base(family), 4)
    with torch.no_grad():
        expected = by_hand(base(family).model, ids, prefix)
    torch.testing.assert_close(our_hidden(base(family), [ids], Virtual(prefix=prefix))[0], expected, **close)


def test_albert_has_one_module_and_as_many_layers_as_calls(base):
    albert, (ids,) = base("albert"), ids_of(5)
    assert len(albert.model.encoder.albert_layer_groups[0].albert_layers) == 1 and len(albert.layers) == 2
    prefix = random_prefix(albert, 3)
    a, b = (our_hidden(albert, [ids], Virtual(prefix=x))[0] for x in (prefix, prefix[::-1]))
    assert (a - b).abs().max() > 1e-2


def test_base_alone_equals_transformers(encoder):
    (ids,) = ids_of(9)
    with torch.no_grad():
        expected = eager(encoder)(input_ids=ids[None], attention_mask=torch.ones(1, 9)).last_hidden_state[0]
    torch.testing.assert_close(our_hidden(encoder, [ids])[0], expected, **close)


def test_prompt_of_real_embeddings_equals_that_text_in_front(encoder):
    front, text = ids_of(4, 7)
    with torch.no_grad():
        prompt = encoder.embeddings(front[None])
        expected = eager(encoder)(input_ids=torch.cat([front, text])[None]).last_hidden_state[0, len(front) :]
    torch.testing.assert_close(our_hidden(encoder, [text], Virtual(prompt=prompt))[0], expected, **close)


@pytest.mark.parametrize("virtual_of", [random_prefix, random_prompt])
def test_padded_rows_equal_the_same_rows_alone(encoder, virtual_of):
    rows, learned = ids_of(11, 3, 1, 7), virtual_of(encoder, 4)
    virtual = Virtual(prefix=learned) if virtual_of is random_prefix else Virtual(prompt=learned)
    for row, text in zip(our_hidden(encoder, rows, virtual), rows):
        alone = our_hidden(encoder, [text], virtual)[0]
        torch.testing.assert_close(row, alone, **close)
        assert (alone - our_hidden(encoder, [text])[0]).abs().max() > 1e-2, "the virtual tokens do nothing"


@pytest.mark.parametrize("virtual_of", [random_prefix, random_prompt])
def test_mixed_virtual_tokens_a_row_equal_each_row_with_its_own(base, virtual_of):
    """`[B, …]` instead of `[1, …]`."""
    bert, rows = base("bert"), ids_of(6, 4)
    both = [virtual_of(bert, 3, seed) for seed in (1, 2)]
    if virtual_of is random_prefix:
        each = [Virtual(prefix=x) for x in both]
        joined = Virtual(prefix=[tuple(torch.cat(x) for x in zip(*layers)) for layers in zip(*both)])
    else:
        each, joined = [Virtual(prompt=x) for x in both], Virtual(prompt=torch.cat(both))
    for got, text, virtual in zip(our_hidden(bert, rows, joined), rows, each):
        torch.testing.assert_close(got, our_hidden(bert, [text], virtual)[0], **close)


def seen_by(module, call):
    """The ids that an embedding table is asked for during `call`."""
    found = []
    hook = module.register_forward_pre_hook(lambda _, args: found.append(args[0]))
    try:
        with torch.no_grad():
            call()
    finally:
        hook.remove()
    return found[-1]


@pytest.mark.parametrize("family, first", [("bert", 0), ("roberta", 2), ("albert", 0)])
def test_text_is_counted_from_p_on_and_padding_takes_no_position(base, family, first):
    b = base(family)
    ids, mask = batch_of(ids_of(5, 3), b.pad_token_id)
    table = b.model.embeddings.position_embeddings
    prefix, prompt = Virtual(prefix=random_prefix(b, 4)), Virtual(prompt=random_prompt(b, 4))
    after_prefix = seen_by(table, lambda: run(b, ids, full_mask(mask, prefix), prefix))
    assert (after_prefix - first).tolist() == [[4, 5, 6, 7, 8], [4, 5, 6, 6, 6]]
    after_prompt = seen_by(table, lambda: run(b, ids, full_mask(mask, prompt), prompt))
    assert (after_prompt - first).tolist() == [[*range(9)], [0, 1, 2, 3, 4, 5, 6, 6, 6]]


def test_virtual_tokens_and_text_of_roberta_fit_its_table_to_the_last_position(base):
    roberta = base("roberta")
    assert (roberta.position_offset, roberta.max_positions) == (2, 62)
    assert len(our_hidden(roberta, ids_of(58), Virtual(prefix=random_prefix(roberta, 4)))[0]) == 58


def test_token_types_of_pairs_are_the_tokenizers_own(base):
    bert = base("bert")
    given = bert.tokenizer([("w1 w2 w3", "w4"), ("w1", "w4 w5")], padding=True, return_tensors="pt")
    ids, mask = given.input_ids, given.attention_mask
    assert given.token_type_ids[0].tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert (token_types(ids, SEP) * mask).equal(given.token_type_ids)
    virtual = Virtual(prompt=random_prompt(bert, 2))
    table = bert.model.embeddings.token_type_embeddings
    seen = seen_by(table, lambda: run(bert, ids, full_mask(mask, virtual), virtual))
    assert (seen[:, 2:] * mask).equal(given.token_type_ids) and not seen[:, :2].any()
    with torch.no_grad():
        expected = eager(bert)(**given).last_hidden_state
    rows = [row[: int(m.sum())] for row, m in zip(ids, mask)]
    for row, got in zip(expected, our_hidden(bert, rows)):
        torch.testing.assert_close(got, row[: len(got)], **close)


def test_pairs_that_the_tokenizer_does_not_number_are_not_numbered():
    tokenizer = tokenizer_of("encoder")
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    bert = base_from(model_of("bert"), tokenizer, "tiny", "classify")
    ids, mask = batch_of([torch.tensor([CLS, 9, SEP, 10, SEP])])
    types = seen_by(bert.model.embeddings.token_type_embeddings, lambda: run(bert, ids, mask))
    assert bert.separator is None and not types.any()


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_prefix_gives_the_class_logits_of_peft(base, family):
    peft = pytest.importorskip("peft")
    if family == "bert":
        kind, config = transformers.BertForTokenClassification, transformers.BertConfig
    else:
        kind, config = transformers.RobertaForTokenClassification, transformers.RobertaConfig
    b, length = base(family), 5
    theirs = kind(config.from_dict({**b.model.config.to_dict(), "num_labels": 3}))
    theirs.base_model.load_state_dict({k: v for k, v in b.model.state_dict().items() if "pooler" not in k})
    options = dict(task_type="TOKEN_CLS", num_virtual_tokens=length, num_layers=2, num_attention_heads=4, token_dim=32)
    tuned = peft.get_peft_model(theirs, peft.PrefixTuningConfig(**options)).eval()
    with torch.no_grad():
        table = tuned.prompt_encoder["default"].embedding.weight.normal_()
        flat = table.view(length, 2, 2, 4, 8)
        prefix = [tuple(flat[:, layer, part].permute(1, 0, 2)[None] for part in (0, 1)) for layer in (0, 1)]
        rows = ids_of(8)
        expected = tuned(input_ids=rows[0][None], attention_mask=torch.ones(1, 8, dtype=torch.long)).logits[0]
        hidden = our_hidden(b, rows, Virtual(prefix=prefix))[0]
        got = tuned.base_model.classifier(hidden)
    torch.testing.assert_close(got, expected, **close)
