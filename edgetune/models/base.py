"""A frozen base model: loaded, probed and described without any table of model families."""

from __future__ import annotations

import inspect
import logging
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from edgetune.errors import ConfigError, UnsupportedModelError
from edgetune.models.encoder_decoder import Places, probed_places, target_tokenizer
from edgetune.models.fingerprint import fingerprint
from edgetune.models.layer import LayerShape
from edgetune.models.probes import (
    ends_in_its_head,
    ever_writes,
    filling_size,
    has_indexer,
    mixes_outside_attention,
    pair_separator,
    probed_layers,
    probed_position_offset,
    probing_ids,
    routed,
    sees_later_tokens,
    state_size,
    takes_vectors,
)

Kind = Literal["encoder", "decoder", "encoder-decoder"]

TASKS = {
    "classify": "feature-extraction",
    "tag": "feature-extraction",
    "regress": "feature-extraction",
    "generate": "text-generation",
}
"""Our tasks and the names under which optimum's registry knows the model class that each needs."""

WORDS, FILL_MASK = "words", "fill-mask"
"""What a base is loaded for whose own vocabulary names the classes, and the registry's name of it for an encoder."""

KINDS = {"classify": ("encoder",), "tag": ("encoder",), "regress": ("encoder",), "generate": ("decoder",)}

PAIR_TASK = "text2text-generation"
"""The registry's name of what encoder–decoders do."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Base:
    """A base model in evaluation mode whose weights take no gradient.

    Attributes:
        tokenizer: transformers' own; None for a model that is only traced or measured on token ids.
        layers: shapes of keys and values, in the order in which layers attend; of an encoder–decoder the decoder's own.
        hidden_size: H of what a head reads: of the last layer, or of what goes into a masked language model's output.
        position_offset: what the family adds to positions before it looks them up; None if it takes no positions.
        takes_token_types: whether it embeds token types; GPT-2 takes them too, but looks them up as words.
        separator: id of the token after which a second text begins; None where pairs are not told apart.
        takes_vectors: whether vectors in the place of ids give the same; if not, the output of its table is replaced.
        plain_head: whether a decoder's logits are its output head's, with no cap or scale behind it.
        masked: whether it is an encoder with its output head, which fills mask tokens in.
        places: where an encoder–decoder attends, and how it begins; None for the others.
        target_tokenizer: an encoder–decoder's for its completions, as a rule the same as `tokenizer`.
        divided: whether its layers' weights are spread over several processes (edgetune.training.sharding).
        max_positions: virtual tokens and text together; None where the configuration sets no limit.
    """

    model: PreTrainedModel
    tokenizer: Any
    name: str
    kind: Kind
    layers: tuple[LayerShape, ...]
    hidden_size: int
    position_offset: int | None
    takes_token_types: bool
    separator: int | None
    takes_vectors: bool = True
    plain_head: bool = False
    masked: bool = False
    places: Places | None = None
    target_tokenizer: Any = None
    divided: bool = False

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint(self.model)

    @property
    def model_type(self) -> str:
        return self.model.config.model_type

    @property
    def embeddings(self) -> torch.nn.Module:
        return self.model.get_input_embeddings()

    @property
    def output_head(self) -> torch.nn.Module:
        """The layer from hidden states to the vocabulary."""
        head = self.model.get_output_embeddings()
        if head is None:
            raise UnsupportedModelError(f"{self.name!r} has no output head over its vocabulary")
        return head

    @property
    def mask_token_id(self) -> int:
        """The token that a masked language model fills in."""
        found = None if self.tokenizer is None else self.tokenizer.mask_token_id
        if found is None:
            raise UnsupportedModelError(f"the tokenizer of {self.name!r} has no mask token; use --head linear")
        return found

    @property
    def embedding_size(self) -> int:
        """Width of the input embeddings, which a prompt joins: H but for families such as ALBERT, where it is less."""
        return self.embeddings.weight.shape[1]  # type: ignore[union-attr,return-value]

    @property
    def vocab_size(self) -> int:
        return self.embeddings.weight.shape[0]  # type: ignore[union-attr,return-value]

    @property
    def max_positions(self) -> int | None:
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        if not isinstance(limit, int) or limit <= 0:
            return None
        return limit - (self.position_offset or 0)

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.model.parameters())

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """Every token that ends a generation, the generation config's first."""
        config = getattr(self.model, "generation_config", None) or self.model.config
        found: Any = getattr(config, "eos_token_id", None)
        if found is None and self.tokenizer is not None:
            found = self.tokenizer.eos_token_id
        return () if found is None else tuple(found) if isinstance(found, (list, tuple)) else (found,)

    @property
    def pad_token_id(self) -> int:
        """What fills a row behind its text; masked, so that any id of the vocabulary serves a base that names none."""
        if self.tokenizer is not None and self.tokenizer.pad_token_id is not None:
            return self.tokenizer.pad_token_id
        configured: Any = getattr(self.model.config, "pad_token_id", None)
        return configured or 0


def load_base(name: str, purpose: str) -> Base:
    """The base at a hub id or in a local folder, in float32, for a task or for `words`.

    Raises:
        ConfigError: nothing loads under that name, or the task is unknown.
        UnsupportedModelError: the family's attention is out of reach, or does not fit the task.
    """
    from optimum.exporters.tasks import TasksManager

    try:
        known_as = registered_task(AutoConfig.from_pretrained(name), purpose)
        model_class = TasksManager.get_model_class_for_task(known_as)
        model, loading = model_class.from_pretrained(name, dtype=torch.float32, output_loading_info=True)
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(f"cannot load the base model {name!r}: {reason} Give a local folder or a hub id.") from error
    new = sorted(key for key in loading["missing_keys"] if "pooler" not in key.split("."))
    if new and purpose == WORDS:
        raise UnsupportedModelError(
            f"the checkpoint {name!r} has no output head over its vocabulary: {new[0]} is missing; give the one that "
            "it was pre-trained as, or use --head linear"
        )
    return base_from(model, tokenizer, name, purpose)


def registered_task(config: Any, purpose: str) -> str:
    """The registry's name of what the model is to do."""
    if config.is_encoder_decoder:
        return PAIR_TASK
    if purpose == WORDS:
        return FILL_MASK if config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES else TASKS["generate"]
    return TASKS[purpose]


def task_named(name: str) -> str:
    """Our name of a task, from ours or any synonym that optimum knows (`text-classification`, `causal-lm` …)."""
    if name in TASKS:
        return name
    from optimum.exporters.tasks import TasksManager

    known = {
        "text-classification": "classify", "token-classification": "tag", "text-generation": "generate",
        PAIR_TASK: "generate",
    }  # fmt: skip
    found = known.get(TasksManager.map_from_synonym(name).removesuffix("-with-past"))
    if found is None:
        raise ConfigError(f"unknown task {name!r}: choose {' or '.join(TASKS)}")
    return found


@torch.no_grad()
def base_from(model: PreTrainedModel, tokenizer: Any, name: str, purpose: str) -> Base:
    """A base around a model in memory: frozen, routed through our attention, its shapes read off forward passes."""
    model_type = model.config.model_type
    if model.config.is_encoder_decoder:
        return pair_base_from(model, tokenizer, name, purpose)
    model.eval().requires_grad_(False)
    ids = probing_ids(model)
    layers = probed_layers(model, ids)
    parameters = inspect.signature(model.forward).parameters
    kind: Kind = "encoder" if sees_later_tokens(model, ids) or not ever_writes(model) else "decoder"
    if kind == "decoder" and mixes_outside_attention(model, ids):
        raise UnsupportedModelError(
            f"layers of the family {model_type!r} keep a state besides keys and values, a convolution's or a "
            "recurrence's, which neither a prefix nor a bundle's cache holds"
        )
    if has_indexer(model):
        raise UnsupportedModelError(
            f"in the family {model_type!r} an indexer chooses which tokens each one sees, which the exported operators "
            "do not do"
        )
    masked = purpose == WORDS and kind == "encoder"
    base = Base(
        model=model,
        tokenizer=tokenizer,
        name=name,
        kind=kind,
        layers=layers,
        hidden_size=filling_size(model, ids, name) if masked else state_size(model, ids),
        position_offset=probed_position_offset(model, ids) if "position_ids" in parameters else None,
        takes_token_types="token_type_ids" in parameters and getattr(model.config, "type_vocab_size", 0) > 0,
        separator=pair_separator(model, tokenizer),
        takes_vectors=takes_vectors(model, ids),
        plain_head=kind == "decoder" and ends_in_its_head(model, ids),
        masked=masked,
    )
    refuse_kind(base, purpose)
    return base


def refuse_kind(base: Base, purpose: str) -> None:
    """Raises UnsupportedModelError for an encoder or a decoder that does not do what it is for."""
    if purpose != WORDS and base.kind not in KINDS[purpose]:
        wanted = "an encoder such as BERT" if "encoder" in KINDS[purpose] else "a decoder such as Llama"
        words = "; a decoder classifies by its own words: add --head words" if purpose == "classify" else ""
        raise UnsupportedModelError(
            f"{base.name!r} ({base.model_type}) is {'a decoder' if base.kind == 'decoder' else 'an encoder'}; "
            f"--task {purpose} needs {wanted}{words}"
        )


def refuse_purpose(base: Base, purpose: str) -> None:
    """Raises UnsupportedModelError for a base that was loaded for something else which it is another form for."""
    if base.places is not None:
        if purpose != "generate":
            raise UnsupportedModelError(f"{base.name!r} ({base.model_type}) is an encoder-decoder, which generates")
        return
    refuse_kind(base, purpose)
    if base.kind == "encoder" and base.masked != (purpose == WORDS):
        raise UnsupportedModelError(
            "label words and other heads need different forms of an encoder; tune the one and the other apart"
        )


def pair_base_from(model: PreTrainedModel, tokenizer: Any, name: str, purpose: str) -> Base:
    """A base around an encoder–decoder."""
    if purpose != "generate":
        asked = "--head words" if purpose == WORDS else f"--task {purpose}"
        raise UnsupportedModelError(
            f"{name!r} ({model.config.model_type}) is an encoder-decoder, which generates; "
            f"{asked} needs an encoder such as BERT"
        )
    model.eval().requires_grad_(False)
    routed(model)
    ids = probing_ids(model)
    places = probed_places(model, ids, name)
    return Base(
        model=model,
        tokenizer=tokenizer,
        name=name,
        kind="encoder-decoder",
        layers=places.decoder,
        hidden_size=model.get_input_embeddings().weight.shape[1],  # type: ignore[union-attr,arg-type]
        position_offset=None,
        takes_token_types=False,
        separator=None,
        places=places,
        target_tokenizer=None if tokenizer is None else target_tokenizer(name, tokenizer),
    )
