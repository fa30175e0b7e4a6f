"""A run that starts from another adapter has its virtual tokens, and its head where the labels are the same."""

import pytest
import torch

from edgetune.adapter import adapter_from
from edgetune.config import TrainConfig
from edgetune.errors import BaseMismatchError, ConfigError
from edgetune.methods.head import LinearHead, MlpHead
from edgetune.methods.start import starting_soft
from edgetune.methods.tuned import Tuned
from edgetune.training.heads import untrained
from edgetune.training.sets import Rows

LABELS = ("no", "yes")


@pytest.fixture
def finished(base, tmp_path):
    """`finished("bert", method="prompt")`: the folder of an adapter with random values, and its tensors."""

    def made(family, labels=LABELS, head=None, **options):
        one, folder = base(family), tmp_path / "source"
        soft = starting_soft(one, TrainConfig(init="random", **options), (), torch.Generator().manual_seed(5))
        head = head or (LinearHead(one.hidden_size, len(labels)) if labels else None)
        for x in head.parameters() if head else ():
            torch.nn.init.normal_(x)
        task = "classify" if labels else "generate"
        adapter = adapter_from(Tuned(one, soft, head), task=task, method=options["method"], labels=tuple(labels))
        folder.mkdir()
        adapter.save(folder)
        return folder, adapter.tensors

    return made


def start(base, folder, labels=LABELS, **options):
    config = TrainConfig(init="adapter", init_adapter=str(folder), **options)
    tuned = untrained(base, config, labels, Rows("rows", config.task, ()))
    return adapter_from(tuned, task=config.task, method=config.method, labels=labels).tensors


@pytest.mark.parametrize(
    "options",
    [
        dict(method="prompt", virtual_tokens=4),
        dict(method="prompt", virtual_tokens=5, prompt_position="both"),
        dict(method="prefix", virtual_tokens=4),
        dict(method="prefix", prefix_lengths="3,1"),
        dict(method="prefix", virtual_tokens=4, prefix_share="kv"),
        dict(method="prompt+prefix", virtual_tokens=2),
    ],
)
def test_it_starts_where_the_other_ended_head_and_all(base, finished, options):
    folder, tensors = finished("bert", **options)
    found = start(base("bert"), folder, **options)
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)


def test_a_prompt_may_move_and_comes_out_of_both(base, finished):
    folder, tensors = finished("llama", labels=(), method="prompt+prefix", virtual_tokens=3)
    more = dict(task="generate", method="prompt", virtual_tokens=3)
    found = start(base("llama"), folder, (), prompt_position="after", **more)
    assert torch.equal(found["suffix_embeds"], tensors["prompt_embeds"]) and len(found) == 1


def test_a_head_follows_its_labels_and_stays_behind_where_they_differ(base, finished):
    options = dict(method="prompt", virtual_tokens=2)
    folder, tensors = finished("bert", **options)
    turned = start(base("bert"), folder, LABELS[::-1], **options)
    assert torch.equal(turned["head.weight"], tensors["head.weight"].flip(0))
    assert torch.equal(turned["head.bias"], tensors["head.bias"].flip(0))
    assert not start(base("bert"), folder, ("no", "maybe"), **options)["head.weight"].any()
    assert not start(base("bert"), folder, head="mlp", **options)["head.weight"].any()


def test_a_hidden_layer_comes_along(base, finished):
    options = dict(method="prompt", virtual_tokens=2)
    folder, tensors = finished("bert", head=MlpHead(32, 2, 32), **options)
    found = start(base("bert"), folder, head="mlp", **options)
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize(
    ("options", "asked", "message"),
    [
        (dict(method="prompt", virtual_tokens=4), dict(method="prompt", virtual_tokens=6), "give --virtual-tokens 4"),
        (dict(method="prefix", virtual_tokens=4), dict(method="prefix", virtual_tokens=6), "give --virtual-tokens 4"),
        (dict(method="prefix", prefix_lengths="3,1"), dict(method="prefix"), "give --prefix-lengths 3,1"),
        (dict(method="prefix"), dict(method="prompt"), "has a prefix and no prompt: tune with --method prefix"),
        (dict(method="prompt"), dict(method="prefix"), "has a prompt and no prefix: tune with --method prompt"),
    ],
)
def test_what_does_not_fit_says_what_to_give(base, finished, options, asked, message):
    folder, _ = finished("bert", **options)
    with pytest.raises(ConfigError, match=message):
        start(base("bert"), folder, **asked)


def test_an_adapter_of_another_base_is_refused(base, finished):
    folder, _ = finished("bert", method="prompt")
    with pytest.raises(BaseMismatchError):
        start(base("roberta"), folder, method="prompt")
