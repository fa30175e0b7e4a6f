"""Tiny encoder–decoders, and what they give by attention written out: prefixes by module, softmax by hand."""

import copy

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import DynamicCache, EncoderDecoderCache, PreTrainedTokenizerFast
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, eager_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from edgetune.adapter import adapter_from
from edgetune.methods.prefix import Prefix
from edgetune.methods.prompt import Prompt
from edgetune.methods.tuned import Tuned
from edgetune.models.base import base_from
from edgetune.models.virtual import Virtual

VOCAB, PAD, BOS, EOS, UNK = 96, 0, 1, 2, 3
SIDES = dict(encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4)
WIDE = dict(d_model=64, encoder_ffn_dim=96, decoder_ffn_dim=96, vocab_size=VOCAB, max_position_embeddings=128)
IDS = dict(pad_token_id=PAD, bos_token_id=BOS, eos_token_id=EOS)
T5 = dict(d_model=64, d_kv=16, d_ff=96, num_layers=2, num_heads=4, vocab_size=VOCAB, pad_token_id=PAD, eos_token_id=EOS,
          decoder_start_token_id=PAD, relative_attention_num_buckets=8, relative_attention_max_distance=12)  # fmt: skip

PAIRS = {
    "BART": lambda: transformers.BartConfig(**SIDES, **WIDE, **IDS, decoder_start_token_id=EOS),
    "T5": lambda: transformers.T5Config(**T5),
    "mT5": lambda: transformers.MT5Config(**T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False),
    "Marian": lambda: transformers.MarianConfig(
        **SIDES, **WIDE, pad_token_id=PAD, eos_token_id=EOS, decoder_start_token_id=PAD, scale_embedding=True
    ),
}


def tokenizer():
    """One word a token; an end token behind a text, as T5 and Marian write it."""
    words = {"<pad>": PAD, "<s>": BOS, "</s>": EOS, "<unk>": UNK, **{f"w{i}": i for i in range(4, VOCAB)}}
    inner = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    inner.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", EOS)])
    roles = dict(pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    return PreTrainedTokenizerFast(tokenizer_object=inner, **roles)


def pair_model(family, seed=0):
    """Weights large enough that every token, position, bias and layer shows in the output."""
    torch.manual_seed(seed)
    model = transformers.AutoModelForSeq2SeqLM.from_config(PAIRS[family]()).eval()
    usual = 0.2 if family == "mT5" else 0.3  # its gated layers, unscaled attention: more would multiply rounding errors
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1 and not ("embed_positions" in name and family == "Marian"):
                known = {
                    "shared": 1.0 if family == "T5" else 0.15,
                    "embed_positions": 0.15,
                    "lm_head": 0.15,
                    "relative": 1.0,
                }
                weight.normal_(0, next((x for part, x in known.items() if part in name), usual))
    settings = model.generation_config
    settings.bad_words_ids = [[PAD]] if family == "Marian" else None
    settings.forced_bos_token_id = BOS if family == "BART" else None
    settings.forced_eos_token_id = EOS if family in ("BART", "Marian") else None
    return model


def pair_base(family, seed=0):
    return base_from(pair_model(family, seed), tokenizer(), f"tiny {family}", "generate")


def random_layers(shapes, length, generator):
    sizes = [(1, x.key_value_heads, length, x.head_size) for x in shapes]
    return [(torch.randn(s, generator=generator), torch.randn(s, generator=generator)) for s in sizes]


def random_virtual(base, places=("encoder", "decoder", "cross"), length=3, prompt=0, seed=0, suffix=0):
    """Random keys and values in some places, and random vectors in front of the encoder's text and behind it."""
    generator = torch.Generator().manual_seed(seed)
    layers = {place: random_layers(base.places.shapes(place), length, generator) for place in places}
    vectors = torch.randn(1, prompt, base.embedding_size, generator=generator) if prompt else None
    behind = torch.randn(1, suffix, base.embedding_size, generator=generator) if suffix else None
    return Virtual(vectors, layers.get("encoder"), layers.get("decoder"), layers.get("cross"), behind)


def pair_adapter(base, places=("encoder", "decoder", "cross"), length=3, prompt=0, seed=0, **more):
    """The same as an adapter."""
    virtual = random_virtual(base, places, length, prompt, seed)
    if prompt:
        soft = Prompt(virtual.prompt[0])
    else:
        placed = {"encoder": virtual.prefix, "decoder": virtual.decoder, "cross": virtual.cross}
        placed = {place: [(k[0], v[0]) for k, v in layers] for place, layers in placed.items() if layers}
        soft = Prefix([x for layers in placed.values() for x in layers], {p: len(x) for p, x in placed.items()})
    return adapter_from(Tuned(base, soft), task="generate", method="prompt" if prompt else "prefix", **more)


def by_module(model, virtual):
    """The prefixes of encoder and cross-attention, by the module that attends."""
    found, name = {}, "EncDecAttention" if hasattr(model.get_decoder(), "block") else "encoder_attn"
    own = "SelfAttention" if name == "EncDecAttention" else "self_attn"
    for side, wanted, layers in (
        (model.get_encoder(), own, virtual.prefix),
        (model.get_decoder(), name, virtual.cross),
    ):
        modules = [module for path, module in side.named_modules() if path.endswith(wanted)]
        found |= dict(zip(modules, layers or []))
    return found


@torch.no_grad()
def reference_logits(base, virtual, ids, decoder_ids):
    """`[U, V]` of one prompt and the beginning of its completion."""
    model = copy.deepcopy(base.model)
    prefixes = by_module(model, virtual)

    def attention(module, query, key, value, attention_mask, scaling=None, position_bias=None, **_):
        scores = query @ key.transpose(2, 3) * scaling
        if position_bias is not None:
            scores = scores + position_bias
        if attention_mask is not None:
            scores = scores + attention_mask
        if module in prefixes:
            front, values = prefixes[module]
            scores, value = (
                torch.cat([query @ front.transpose(2, 3) * scaling, scores], -1),
                torch.cat([values, value], 2),
            )
        return (scores.softmax(-1) @ value).transpose(1, 2), None

    ALL_ATTENTION_FUNCTIONS.register("by_hand", attention)
    ALL_MASK_ATTENTION_FUNCTIONS.register("by_hand", eager_mask)
    model.set_attn_implementation("by_hand")
    taken = []  # the vectors as the encoder takes them, whatever the family does to its table's
    table = model.get_encoder().get_input_embeddings()
    scale = model.config.d_model**0.5 if getattr(model.config, "scale_embedding", False) else 1.0
    hook = table.register_forward_hook(lambda _, __, out: taken.append(out))
    table(torch.tensor([ids]))
    hook.remove()
    embeds = taken[0] * scale
    embeds = torch.cat([x for x in (virtual.prompt, embeds, virtual.suffix) if x is not None], dim=1)
    cache = DynamicCache()
    for i, (key, value) in enumerate(virtual.decoder or ()):
        cache.update(key, value, i)
    cache = EncoderDecoderCache(cache, DynamicCache()) if virtual.decoder else None
    decoder_ids = torch.tensor([decoder_ids])
    return model(inputs_embeds=embeds, decoder_input_ids=decoder_ids, past_key_values=cache).logits[0]


def rows_of(lengths, seed=0):
    """Token ids of mixed lengths, special tokens left out."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(4, VOCAB, (length,), generator=generator).tolist() for length in lengths]


def padded(rows):
    """Right-padded ids and mask `[B, T]`."""
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=PAD)
    return ids, (torch.arange(ids.shape[1]) < torch.tensor([[len(row)] for row in rows])).long()
