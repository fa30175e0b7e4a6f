"""What an encoder–decoder is made of, read off forward passes: where it attends and how a completion begins."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.modeling_outputs import BaseModelOutput

from edgetune.errors import UnsupportedModelError
from edgetune.models.attention import Pass, active
from edgetune.models.layer import LayerShape

TARGET_TOKENIZER = "target_tokenizer.json"
"""Beside a checkpoint whose completions have a vocabulary of their own."""


@dataclass(frozen=True)
class Beginning:
    """Ids with which a completion is begun and ended whatever the scores say; None where the family forces none.

    Attributes:
        start: what the decoder reads first.
        forced_bos, forced_eos: the first new token, and the last that a limit allows.
        suppressed: tokens that are never chosen, such as Marian's padding.
    """

    start: int
    forced_bos: int | None = None
    forced_eos: int | None = None
    suppressed: tuple[int, ...] = ()


@dataclass(frozen=True)
class Places:
    """Where an encoder–decoder attends; a prefix can go to each.

    Attributes:
        encoder, decoder, cross: shapes of the keys of the encoder's and the decoder's own layers, and of those that
            the decoder has of the encoder's states.
        order: the place of each attention of the decoder, in the order in which they run.
        relative: the decoder's own attention adds a bias by distance (T5) and takes no positions.
        embedding_scale: what the model multiplies with what its embedding table gives (Marian).
    """

    encoder: tuple[LayerShape, ...]
    decoder: tuple[LayerShape, ...]
    cross: tuple[LayerShape, ...]
    order: tuple[str, ...]
    relative: bool
    embedding_scale: float
    beginning: Beginning

    def shapes(self, place: str) -> tuple[LayerShape, ...]:
        return {"encoder": self.encoder, "decoder": self.decoder, "cross": self.cross}[place]


def shapes(seen: list[tuple[Tensor, Tensor]]) -> tuple[LayerShape, ...]:
    return tuple(LayerShape(key.shape[1], key.shape[3]) for key, _ in seen)


def encoded(model: PreTrainedModel, state: Pass, mask: Tensor, **inputs: Tensor) -> Tensor:
    """The encoder's last layer, `[B, T, H]`."""
    encoder: Any = model.get_encoder()
    with active(state):
        return encoder(attention_mask=mask, **inputs).last_hidden_state


def decoded(
    model: PreTrainedModel, state: Pass, states: Tensor, mask: Tensor, ids: Tensor, cache: Any = None,
    own_mask: Tensor | None = None, **more: Tensor,
) -> Any:  # fmt: skip
    """The model's output for the decoder's `ids` over the encoder's states and their mask."""
    outputs: Any = BaseModelOutput(last_hidden_state=states)  # type: ignore[arg-type]
    with active(state):
        return model(
            encoder_outputs=outputs,
            attention_mask=mask,
            decoder_input_ids=ids,
            decoder_attention_mask=own_mask,
            past_key_values=cache,
            use_cache=cache is not None,
            **more,
        )


def probed_places(model: PreTrainedModel, ids: Tensor, name: str) -> Places:
    """`ids` `[1, 4]`: the encoder reads four tokens and the decoder three, so that their keys can be told apart.

    Raises:
        UnsupportedModelError: attention that is out of reach, or no token that begins a completion.
    """
    mask, reading, writing = torch.ones_like(ids), Pass(record=True), Pass(record=True)
    states = encoded(model, reading, mask, input_ids=ids)
    decoded(model, writing, states, mask, ids[:, :3])
    order = tuple("cross" if key.shape[2] == ids.shape[1] else "decoder" for key, _ in writing.seen)
    if not reading.seen or set(order) != {"cross", "decoder"}:
        raise UnsupportedModelError(
            f"the family {model.config.model_type!r} does not route all its attention through transformers' interface"
        )
    biases = dict.fromkeys(order, False)
    for place, bias in zip(order, writing.biases):
        biases[place] |= bias is not None and bool(bias.any())
    if biases["cross"]:
        raise UnsupportedModelError(f"{model.config.model_type} has a position bias across encoder and decoder")
    return Places(
        encoder=shapes(reading.seen),
        decoder=shapes([x for place, x in zip(order, writing.seen) if place == "decoder"]),
        cross=shapes([x for place, x in zip(order, writing.seen) if place == "cross"]),
        order=order,
        relative=biases["decoder"],
        embedding_scale=probed_scale(model, ids, states),
        beginning=beginning_of(model, name),
    )


def probed_scale(model: PreTrainedModel, ids: Tensor, expected: Tensor) -> float:
    """What turns the table's vectors into those that the encoder takes: 1, or the root of their width."""
    table: Any = model.get_input_embeddings()
    vectors, mask = table(ids), torch.ones_like(ids)
    for scale in (1.0, vectors.shape[-1] ** 0.5):
        found = encoded(model, Pass(), mask, inputs_embeds=vectors * scale)
        if torch.allclose(found, expected, atol=1e-5):
            return scale
    raise UnsupportedModelError(f"cannot tell how the family {model.config.model_type!r} scales its embeddings")


def beginning_of(model: PreTrainedModel, name: str) -> Beginning:
    """As transformers' own `generate` has it from the generation configuration."""

    def setting(key: str) -> Any:
        return getattr(model.generation_config, key, None)

    starts = [setting("decoder_start_token_id"), getattr(model.config, "decoder_start_token_id", None)]
    start = next((x for x in [*starts, setting("bos_token_id")] if isinstance(x, int)), None)
    if start is None:
        raise UnsupportedModelError(f"the configuration of {name!r} names no decoder_start_token_id; add it")
    never = [*(setting("suppress_tokens") or []), *(x[0] for x in setting("bad_words_ids") or [] if len(x) == 1)]
    last = setting("forced_eos_token_id")
    return Beginning(
        start=start,
        forced_bos=setting("forced_bos_token_id"),
        forced_eos=last[0] if isinstance(last, list) else last,
        suppressed=tuple(dict.fromkeys(never)),
    )


def target_tokenizer(folder: str, tokenizer: Any) -> Any:
    """The tokenizer of completions: the prompt's own, unless the checkpoint brings another."""
    path = Path(folder) / TARGET_TOKENIZER
    if not path.is_file():
        return tokenizer
    roles = {key: value for key, value in tokenizer.special_tokens_map.items() if isinstance(value, str)}
    return PreTrainedTokenizerFast(tokenizer_file=str(path), **roles)
