"""A part of many tasks' rows through the base, once: what each task's rows cost, and what they answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, pad

from edgetune.methods.tuned import Tuned
from edgetune.models.attention import Pass
from edgetune.models.base import Base
from edgetune.models.cross_entropy import frozen_head_losses
from edgetune.models.encoder_decoder import decoded, encoded
from edgetune.models.forward import keys_and_values, logits_at, read_states, run
from edgetune.models.forward_pairs import by_order, cache_of, encoder_inputs, output_head_at, places_of
from edgetune.models.virtual import Virtual, longest
from edgetune.together.rows import Part, Share
from edgetune.together.stacks import Stacks
from edgetune.training.objective import answer_loss


@dataclass(frozen=True)
class Found:
    """Of one task's rows in a part.

    Attributes:
        loss: summed over rows, words that are tagged, or completion tokens.
        answers: `[B, C]`, of tags `[B, T, C]`; None of a generator.
    """

    share: Share
    loss: Tensor
    answers: Tensor | None = None


def as_read(tasks: Sequence[Tuned]) -> list[Virtual]:
    """Each task's virtual tokens as its rows have them: a decoder's prompt goes in front once, not once a row.

    Prompts of one length, behind prefixes of one length, are run together.
    """
    base, found = tasks[0].base, [tuned.virtual() for tuned in tasks]
    if base.kind != "decoder":
        return found
    alike: dict[Any, list[int]] = {}
    for i, virtual in enumerate(found):
        if virtual.prompt is not None:
            lengths = tuple(key.shape[2] for key, _ in virtual.prefix or ())
            alike.setdefault((virtual.prompt_length, lengths), []).append(i)
    for group in alike.values():
        virtuals = [found[i] for i in group]
        layers = keys_and_values(base, torch.zeros(len(group), 0, dtype=torch.int64), side_by_side(virtuals))
        split = [[x.split(1) for x in layer] for layer in layers]
        for row, i in enumerate(group):
            prefix = [(keys[row], values[row]) for keys, values in split]
            found[i] = Virtual(prefix=prefix, suffix=found[i].suffix)
    return found


def side_by_side(virtuals: Sequence[Virtual]) -> Virtual:
    """Prefixes and prompts of equal lengths as those of a batch."""
    prompts: list[Any] = [virtual.prompt for virtual in virtuals]
    layers = zip(*(virtual.prefix or () for virtual in virtuals))
    prefix = [(torch.cat([k for k, _ in layer]), torch.cat([v for _, v in layer])) for layer in layers]
    return Virtual(prompt=torch.cat(prompts), prefix=prefix or None)


def mixing_key(virtual: Virtual) -> int:
    """Tasks with equal keys can share a part: a decoder behind an encoder counts its positions from its prefix on."""
    return longest(virtual.decoder)


def found_in(part: Part, tasks: Sequence[Tuned], stacks: Stacks) -> list[Found]:
    """What each task's rows cost and answer; rows number the tasks as `tasks` and `stacks` have them."""
    compute = {"encoder": heads, "decoder": completions_and_words, "encoder-decoder": pairs}[tasks[0].base.kind]
    return compute(tasks[0].base, part, tasks, stacks)


def inputs_of(part: Part, stacks: Stacks) -> tuple[Tensor, Tensor, Virtual, Pass]:
    """What `run` takes, for an encoder or a decoder."""
    mask = torch.cat([stacks.visible("prefix", part.tasks), part.mask], dim=1)
    skipped = None if stacks.lacking is None else stacks.lacking[part.tasks]
    return part.input_ids, mask, stacks.virtual(part.tasks), Pass(skipped=skipped)


def heads(base: Base, part: Part, tasks: Sequence[Tuned], stacks: Stacks) -> list[Found]:
    """Of an encoder: each task's own head over its own rows."""
    ids, mask, virtual, state = inputs_of(part, stacks)
    states = read_states(base, ids, mask, virtual, state).split([share.batch.rows for share in part.shares])
    found = []
    for share, hidden in zip(part.shares, states):
        tuned, batch = tasks[share.task], share.batch
        if tuned.pooling == "start":
            assert tuned.head is not None
            answers = tuned.head(hidden[:, 0]).float()
        else:
            text = hidden[:, share.front : share.front + batch.input_ids.shape[1]]
            answers = tuned.text_scores(text, batch.input_ids, batch.mask).float()
        found.append(Found(share, answer_loss(tuned, batch, answers), answers))
    return found


def completions_and_words(base: Base, part: Part, tasks: Sequence[Tuned], stacks: Stacks) -> list[Found]:
    """Of a decoder: the output head runs over the positions that answer, of all tasks at once."""
    ids, mask, virtual, state = inputs_of(part, stacks)
    at = torch.cat([answering(share, ids.shape[1]) for share in part.shares])
    counts = [share.batch.rows if share.batch.targets is None else len(share.batch.targets) for share in part.shares]
    if base.plain_head:
        outputs = run(base, ids, mask, virtual, state, headless=True).last_hidden_state[at].split(counts)
    else:
        outputs = logits_at(base, ids, mask, at, virtual, state).split(counts)
    of_shares = list(zip(part.shares, outputs))
    writing = [(share, x) for share, x in of_shares if share.batch.targets is not None]
    choosing = [(share, x) for share, x in of_shares if share.batch.targets is None]
    return [*completions(base, writing), *words(base, choosing, tasks)]


def answering(share: Share, width: int) -> Tensor:
    """bool `[B, S]`, the positions after which a decoder answers: a text's last, or those in front of a completion's
    tokens."""
    if share.batch.predicts is not None:
        return pad(share.batch.predicts, (0, width - share.batch.predicts.shape[1]))
    ends = torch.tensor([[len(row.ids) - 1] for row in share.rows])
    return torch.arange(width) == ends


def completions(base: Base, writing: Sequence[tuple[Share, Tensor]]) -> list[Found]:
    """Of states, or of logits where something stands behind the output head."""
    if not writing:
        return []
    targets: list[Any] = [share.batch.targets for share, _ in writing]
    output: Any = base.output_head
    joined, wanted = torch.cat([x for _, x in writing]), torch.cat(targets)
    if base.plain_head:
        losses = frozen_head_losses(output, joined, wanted)
    else:
        losses = cross_entropy(joined.float(), wanted, reduction="none")
    return [Found(share, x.sum()) for (share, _), x in zip(writing, losses.split([len(x) for x in targets]))]


def words(base: Base, choosing: Sequence[tuple[Share, Tensor]], tasks: Sequence[Tuned]) -> list[Found]:
    if not choosing:
        return []
    joined = torch.cat([x for _, x in choosing])
    logits = (base.output_head(joined) if base.plain_head else joined).split([len(x) for _, x in choosing])
    found = []
    for (share, _), of_share in zip(choosing, logits):
        tuned = tasks[share.task]
        answers = tuned.label_scores(of_share).float()
        found.append(Found(share, answer_loss(tuned, share.batch, answers), answers))
    return found


def pairs(base: Base, part: Part, tasks: Sequence[Tuned], stacks: Stacks) -> list[Found]:
    """Of an encoder–decoder."""
    virtual, places = stacks.virtual(part.tasks), places_of(base)
    reading, writing = Pass(past=list(virtual.prefix or [])), Pass(past=by_order(places, virtual.cross))
    reading.past_visible, writing.past_visible = (
        stacks.visible(place, part.tasks).bool() for place in ("prefix", "cross")
    )
    states = encoded(base.model, reading, part.mask, **encoder_inputs(base, part.input_ids, None, virtual.suffix))
    batches: list[Any] = [share.batch for share in part.shares]
    width = max(batch.decoder_ids.shape[1] for batch in batches)
    wide = [width - batch.decoder_ids.shape[1] for batch in batches]
    ids = torch.cat([pad(x.decoder_ids, (0, more), value=base.pad_token_id) for x, more in zip(batches, wide)])
    at = torch.cat([pad(x.predicts, (0, more)) for x, more in zip(batches, wide)])
    cache = cache_of(virtual.decoder, len(ids))
    with output_head_at(base, at):
        logits = decoded(base.model, writing, states, part.mask, ids, cache).logits[0]
    losses = cross_entropy(logits.float(), torch.cat([x.targets for x in batches]), reduction="none")
    counts = [len(x.targets) for x in batches]
    return [Found(share, x.sum()) for share, x in zip(part.shares, losses.split(counts))]
