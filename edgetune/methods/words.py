"""Label words: classes scored by the base's own vocabulary, at a template around the text.

Schick & Schütze 2021 (pattern and verbaliser), Gao et al. 2021 (the templates by default and the average over words);
with a soft prompt in front, Lester et al. 2021 and Liu et al. 2021 (P-tuning). Nothing but virtual tokens is learned.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from edgetune_runtime.template import MASK, PAIR, TEXT

from edgetune.config import TrainConfig
from edgetune.errors import ConfigError
from edgetune.methods.head import LinearHead
from edgetune.models.base import Base

TEMPLATES = {
    ("encoder", False): "{text} It was {mask}.",
    ("encoder", True): "{text} ? {mask}, {text_pair}",
    ("decoder", False): "{text} =>",
    ("decoder", True): "{text}\n{text_pair} =>",
}
"""By kind of base and whether texts come in pairs; the encoders' are those of Gao et al. 2021, table 1."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelWords:
    """How a task's labels are read off the vocabulary.

    Attributes:
        template: what the text is filled into.
        ids: tokens of each label's words, in the order of the labels.
    """

    template: str
    ids: tuple[tuple[int, ...], ...]

    @property
    def takes_pairs(self) -> bool:
        return PAIR in self.template


def label_words(base: Base, config: TrainConfig, labels: Sequence[str], pairs: bool) -> LabelWords:
    """The template and the label words that a configuration asks for, on its base.

    Raises:
        ConfigError: a template without a place that it needs, words that no token stands for, or labels that share one.
    """
    template = config.template or TEMPLATES[base.kind, pairs]
    check_template(template, base)
    if unknown := sorted(set(config.label_words) - set(labels)):
        raise ConfigError(
            f"--label-words names {unknown[0]!r}, which is no label of the rows: {', '.join(labels[:10])}"
        )
    lead = leading_space(template)
    words = [words_of(label, config.label_words) for label in labels]
    ids = tuple(tuple(dict.fromkeys(word_id(base, lead, word) for word in of_label)) for of_label in words)
    refuse_shared(base, labels, ids)
    longer = [word for of_label in words for word in of_label if len(word_ids(base, lead, word)) > 1]
    if longer:
        told = f"{', '.join(map(repr, longer[:5]))}{' …' if len(longer) > 5 else ''}"
        log.warning("%d label words are several tokens, of which the first is taken: %s", len(longer), told)
    return LabelWords(template, ids)


def check_template(template: str, base: Base) -> None:
    wanted = {TEXT: (1,), PAIR: (0, 1), MASK: (1,) if base.masked else (0,)}
    for place, counts in wanted.items():
        if template.count(place) not in counts:
            what = {(1,): "once", (0,): "nowhere: a decoder answers behind the text"}.get(counts, "at most once")
            raise ConfigError(
                f"--template {template!r} has {place} {template.count(place)} times; it belongs in {what}"
            )


def leading_space(template: str) -> str:
    """A space where one stands in front of the word: most vocabularies count it to the word."""
    before, place, _ = template.partition(MASK)
    if place:
        return " " if before[-1:].isspace() else ""
    return "" if template[-1:].isspace() else " "


def words_of(label: str, given: Mapping[str, str]) -> list[str]:
    """The words that stand for a label; its own name where none are given."""
    if label not in given:
        return [label.replace("_", " ")]
    found = [word.strip() for word in given[label].split(",")]
    if not all(found):
        raise ConfigError(f"--label-words {label}={given[label]} has an empty word; write {label}=WORD or {label}=A,B")
    return found


def word_ids(base: Base, lead: str, word: str) -> list[int]:
    """Tokens of a word, without one that is nothing but the space in front."""
    tokenizer: Any = base.tokenizer
    ids = tokenizer(lead + word, add_special_tokens=False).input_ids
    texts = [text.strip("▁Ġ ") for text in tokenizer.convert_ids_to_tokens(ids)]
    return [i for i, text in zip(ids, texts) if text] or ids


def word_id(base: Base, lead: str, word: str) -> int:
    """The word's first token."""
    ids = word_ids(base, lead, word)
    if not ids or ids[0] == base.tokenizer.unk_token_id:
        raise ConfigError(f"the vocabulary of {base.name!r} has no token for the label word {word!r}; give another")
    return ids[0]


def refuse_shared(base: Base, labels: Sequence[str], ids: Sequence[Sequence[int]]) -> None:
    """One token cannot stand for two labels."""
    owners: dict[int, str] = {}
    for label, of_label in zip(labels, ids):
        for token in of_label:
            if token in owners:
                shown = base.tokenizer.convert_ids_to_tokens(token).strip("▁Ġ ")
                raise ConfigError(
                    f"the labels {owners[token]!r} and {label!r} would both be read off the token {shown!r}; "
                    f"give words that begin differently: --label-words {label}=WORD"
                )
            owners[token] = label


@torch.no_grad()
def word_head(base: Base, ids: Sequence[Sequence[int]]) -> LinearHead:
    """A masked language model's output head for these words alone, `[C, H]`: of each label the mean of its words' rows.

    A mean of rows gives the mean of their scores. It is not learned.
    """
    output: Any = base.output_head
    head = LinearHead(base.hidden_size, len(ids)).requires_grad_(False)
    for row, tokens in enumerate(ids):
        head.weight[row] = output.weight[list(tokens)].mean(0)
        if output.bias is not None:
            head.bias[row] = output.bias[list(tokens)].mean()
    return head
