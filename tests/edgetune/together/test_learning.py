"""A pass of many tasks gives each the loss, the gradient and the metrics that it has on its own."""

import random

import pytest
import torch
from references.pairs import pair_base

from edgetune.config import TrainConfig
from edgetune.methods.head import LinearHead
from edgetune.methods.lengths import suffix_length
from edgetune.methods.start import starting_soft
from edgetune.methods.tuned import Tuned
from edgetune.methods.words import LabelWords
from edgetune.models.suffix import suffix_ids
from edgetune.together.learning import joint_gradients, measured_together
from edgetune.training.batches import batch_of
from edgetune.training.examples import Example, behind_prompt
from edgetune.training.learner import joint_gradient
from edgetune.training.objective import measured

from ..tiny import CLS, PAD, VOCAB, base_of

LABELS = ("O", "B-a", "I-a", "B-b")

ENCODER = [
    dict(method="prefix", virtual_tokens=3, classes=3),
    dict(method="prompt", virtual_tokens=5, pooling="first"),
    dict(task="tag", method="prompt+prefix", virtual_tokens=2, classes=4),
    dict(task="regress", method="prompt", virtual_tokens=3, prompt_position="both"),
    dict(method="prefix", prefix_lengths="0,4", pooling="start"),
    dict(method="prefix", prefix_share="kv", virtual_tokens=2),
    dict(method="prompt", prompt_position="after", virtual_tokens=2, pooling="start"),
    dict(method="prefix", reparameterise="mlp", reparameterise_size=4, virtual_tokens=2),
]
DECODER = [
    dict(task="generate", method="prefix", virtual_tokens=3),
    dict(task="generate", method="prompt", virtual_tokens=5),
    dict(head="words", method="prompt+prefix", virtual_tokens=2, classes=3),
    dict(task="generate", method="prompt", virtual_tokens=3, prompt_position="both"),
    dict(head="words", method="prompt", virtual_tokens=3, prompt_position="after"),
    dict(task="generate", method="prefix", prefix_lengths="4,1"),
    dict(task="generate", method="prompt+prefix", virtual_tokens=2),
]


def example(config, classes, chance):
    ids = [CLS, *(chance.randrange(6, VOCAB) for _ in range(chance.randint(2, 9)))]
    if config.task == "regress":
        return Example(ids, value=chance.random())
    if config.task == "tag":
        words = range(1, len(ids))
        return Example(ids, tags=tuple(chance.randrange(classes) for _ in words), first=tuple(words))
    if config.task == "generate":
        prompt = chance.randint(1, len(ids) - 1)
        row = Example(ids, completion=tuple(i >= prompt for i in range(len(ids))))
        added = suffix_ids(suffix_length(config), VOCAB)
        return behind_prompt(row, added) if added else row
    return Example(ids, label=chance.randrange(classes))


def work(base, seed, classes=2, **options):
    """A task with some rows; its head has values, so that classes differ from the start."""
    config = TrainConfig(seed=seed, **options)
    labels, generator = LABELS[:classes], torch.Generator().manual_seed(seed)
    soft = starting_soft(base, config, (), generator)
    rows = [example(config, classes, random.Random(f"{seed} {i}")) for i in range(7 + seed)]
    if config.task == "generate":
        return Tuned(base, soft), rows
    if config.head == "words":
        words = LabelWords("{text}", tuple((10 + i, 20 + i) for i in range(classes)))
        return Tuned(base, soft, labels=labels, words=words), rows
    head = LinearHead(base.hidden_size, 1 if config.task == "regress" else classes)
    torch.nn.init.normal_(head.weight, 0, 0.3, generator=generator)
    return Tuned(base, soft, head, "each" if config.task == "tag" else config.pooling, labels=labels), rows


def gradients(tuned):
    found = {name: p.grad for name, p in tuned.named_parameters() if p.requires_grad and p.numel()}
    assert all(x is not None for x in found.values())
    return {name: x.clone() for name, x in found.items()}


def assert_as_if_alone(works):
    """A pass of all gives each the loss, gradient and metrics of a pass of its own."""
    alone = []
    for tuned, rows in works:
        loss = joint_gradient(tuned, [batch_of(rows, PAD)])
        alone.append((loss, gradients(tuned), measured(tuned, rows)))
        tuned.zero_grad()
    losses, metrics = joint_gradients(works), measured_together(works)
    for (loss, wanted, told), (tuned, _), together, metric in zip(alone, works, losses, metrics):
        assert together == pytest.approx(loss, rel=1e-5)
        assert metric == pytest.approx(told, rel=1e-5)
        found = gradients(tuned)
        for name, x in wanted.items():
            torch.testing.assert_close(found[name], x, rtol=2e-4, atol=2e-4 * x.abs().max().item(), msg=name)
    assert all(p.grad is None for p in works[0][0].base.model.parameters())


@pytest.mark.parametrize("family, options", [
    ("bert", ENCODER), ("roberta", ENCODER), ("distilbert", ENCODER), ("modernbert", ENCODER), ("deberta-v2", ENCODER),
    ("llama", DECODER), ("mistral", DECODER), ("gemma2", DECODER), ("bloom", DECODER),
])  # fmt: skip
def test_tasks_of_every_form_are_mixed_and_each_is_as_if_alone(family, options):
    base = base_of(family)
    assert_as_if_alone([work(base, seed, **x) for seed, x in enumerate(options)])


PAIRS = [
    dict(method="prefix", virtual_tokens=3),
    dict(method="prefix", virtual_tokens=3, prefix_places="decoder"),
    dict(method="prefix", virtual_tokens=2, prefix_places="encoder"),
    dict(method="prefix", virtual_tokens=4, prefix_places="cross,encoder"),
    dict(method="prefix", virtual_tokens=2),
    dict(method="prompt", virtual_tokens=4),
    dict(method="prompt", virtual_tokens=3, prompt_position="both"),
    dict(method="prompt+prefix", virtual_tokens=3, prefix_places="encoder"),
]


@pytest.mark.parametrize("family", ["BART", "T5", "Marian"])
def test_tasks_of_an_encoder_decoder_are_mixed_wherever_their_prefixes_go(family):
    base = pair_base(family)
    works = []
    for seed, options in enumerate(PAIRS):
        config, chance = TrainConfig(task="generate", seed=seed, **options), random.Random(seed)
        rows = []
        for _ in range(5 + seed):
            written = [chance.randrange(6, 30) for _ in range(chance.randint(1, 6))]
            text = [chance.randrange(6, 30) for _ in range(chance.randint(1, 8))]
            rows.append(Example(text, decoder_ids=(2, *written[:-1]), targets=tuple(written)))
        works.append((Tuned(base, starting_soft(base, config, (), torch.Generator().manual_seed(seed))), rows))
    assert_as_if_alone(works)


def test_a_task_whose_numbers_are_gone_does_not_reach_the_others(base):
    works = [work(base("bert"), seed, method="prefix", virtual_tokens=2) for seed in range(2)]
    wanted = joint_gradients(works[:1])
    before = gradients(works[0][0])
    works[0][0].zero_grad()
    with torch.no_grad():
        next(p for p in works[1][0].parameters() if p.requires_grad).fill_(torch.nan)
    losses = joint_gradients(works)
    assert losses[0] == pytest.approx(wanted[0]) and losses[1] != losses[1]
    for name, x in gradients(works[0][0]).items():
        torch.testing.assert_close(x, before[name])
