"""What an adapter says about itself: the JSON beside its tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .checked import Fields
from .template import MASK, PAIR, TEXT
from .words import SPLITS

FORMAT_VERSION = 1
ACTIVATIONS = ("tanh", "gelu", "relu")
"""Of a head's hidden layer, by their numbers in the graph."""


@dataclass(frozen=True)
class GenerationDefaults:
    """What a task sets where a call leaves an option out; None: the runtime's own default."""

    max_new_tokens: int | None = None
    stop: tuple[str, ...] | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None


@dataclass(frozen=True)
class AdapterMetadata:
    """The `edgetune` key of an adapter's safetensors metadata, format version 1."""

    name: str
    task: str
    method: str
    base_fingerprint: str
    virtual_tokens: int
    """P."""
    labels: tuple[str, ...]
    pooling: str | None
    generation: GenerationDefaults
    activation: str = "tanh"
    """Of the head's hidden layer, where it has one."""
    template: str | None = None
    """What the text is filled into, of a classifier that answers with words."""
    label_words: tuple[tuple[int, ...], ...] = ()
    """The tokens of each label's words, in the order of the labels."""
    word_split: str = SPLITS[0]
    """How a plain text becomes words, of a task that tags."""
    version: int | None = None
    """Of the file, among those of its name; a store of adapters goes up only. None: it says none."""
    begins_text: bool = False
    """Whether the virtual tokens are a text's beginning: what stands behind them has no special tokens of its own."""

    @property
    def takes_pairs(self) -> bool:
        """Whether a text comes with a second one: as it likes, where there is no template."""
        return self.template is None or PAIR in self.template


def metadata_from(fields: Fields) -> AdapterMetadata:
    """The metadata in `fields`; raises their error for an unknown version or a field of the wrong type."""
    fields.exactly("format_version", FORMAT_VERSION)
    if fields.data.get("positions", "after_virtual") != "after_virtual":
        raise fields.fail("positions", "'after_virtual' (a newer runtime may know others)")
    labels = tuple(fields.texts("labels"))
    if len(set(labels)) != len(labels):
        raise fields.fail("labels", "a list without repetitions")
    return AdapterMetadata(
        name=fields.text("name"),
        task=fields.text("task"),
        method=fields.text("method"),
        base_fingerprint=fields.text("base_fingerprint"),
        virtual_tokens=fields.whole("virtual_tokens"),
        labels=labels,
        pooling=fields.optional_text("pooling"),
        generation=_generation_from(fields),
        **_words_from(fields, labels),
        version=fields.optional_whole("version"),
        begins_text=fields.flag("begins_text"),
        activation=fields.one_of("activation", ACTIVATIONS) if "activation" in fields.data else ACTIVATIONS[0],
    )


def _words_from(fields: Fields, labels: tuple[str, ...]) -> dict[str, Any]:
    template, words = fields.optional_text("template"), fields.lists_of_wholes("label_words")
    if template is not None and (template.count(TEXT) != 1 or template.count(MASK) > 1 or template.count(PAIR) > 1):
        raise fields.fail("template", f"a text that holds {TEXT} once, and {PAIR} and {MASK} at most once")
    if (words or template is not None) and len(words) != len(labels):
        raise fields.fail("label_words", f"{len(labels)} lists, one for each label")
    split = fields.one_of("word_split", SPLITS) if "word_split" in fields.data else SPLITS[0]
    return {"template": template, "label_words": tuple(map(tuple, words)), "word_split": split}


def _generation_from(fields: Fields) -> GenerationDefaults:
    if fields.data.get("generation") is None:
        return GenerationDefaults()
    given = fields.object("generation")
    stop = given.data.get("stop")
    return GenerationDefaults(
        max_new_tokens=given.optional_whole("max_new_tokens"),
        # one string is as good as a list of one
        stop=None if stop is None else (stop,) if isinstance(stop, str) else tuple(given.texts("stop")),
        temperature=given.optional_number("temperature"),
        top_k=given.optional_whole("top_k"),
        top_p=given.optional_number("top_p"),
    )
