"""The heads of a batch's tasks are one head, in which no task reads what is another's."""

import numpy as np
import pytest
from edgetune_runtime.adapter import Adapter
from edgetune_runtime.adapter_metadata import AdapterMetadata, GenerationDefaults
from edgetune_runtime.heads import joined_heads

WIDTH = 3
METADATA = AdapterMetadata("a", "classify", "prefix", "", 0, ("x",), "mean", GenerationDefaults(), activation="relu")


def head(rng, classes, hidden=0, dtype=np.float32):
    normal = lambda *shape: rng.normal(size=shape).astype(dtype)  # noqa: E731
    dense = (normal(hidden, WIDTH), normal(hidden)) if hidden else (None, None)
    return Adapter(None, METADATA, (), head_weight=normal(classes, hidden or WIDTH), head_bias=normal(classes),
                   dense_weight=dense[0], dense_bias=dense[1])  # type: ignore[arg-type]  # fmt: skip


def computed(feeds, vector):
    """What a graph computes of a pooled vector [H]: `BUNDLE.md`."""
    hidden = np.maximum(feeds["head.dense.weight"] @ vector + feeds["head.dense.bias"], 0)
    return feeds["head.weight"] @ np.concatenate([vector, hidden]) + feeds["head.bias"]


def alone(adapter, vector):
    """Written out: the one head of one task."""
    if adapter.dense_weight is not None:
        vector = np.maximum(adapter.dense_weight @ vector + adapter.dense_bias, 0)
    return adapter.head_weight @ vector + adapter.head_bias


@pytest.mark.parametrize("hidden", [(0,), (4,), (0, 0, 0), (0, 4, 0, 2), (2, 5)], ids=str)
@pytest.mark.parametrize("stored", [np.float32, np.float16])
def test_every_task_gets_what_its_own_head_computes(hidden, stored):
    rng = np.random.default_rng(0)
    adapters = [head(rng, i + 2, units, stored) for i, units in enumerate(hidden)]
    feeds = joined_heads(adapters, WIDTH, np.float32, dense=True)
    assert {x.dtype for name, x in feeds.items() if "activation" not in name} == {np.dtype(np.float32)}
    vector = rng.normal(size=WIDTH).astype(np.float32)
    expected = np.concatenate([alone(a, vector) for a in adapters])
    np.testing.assert_allclose(computed(feeds, vector), expected, rtol=0, atol=1e-5 if stored == np.float32 else 1e-2)


def test_one_linear_head_is_not_copied():
    adapter = head(np.random.default_rng(0), 4)
    feeds = joined_heads([adapter], WIDTH, np.float32, dense=False)
    assert feeds["head.weight"] is adapter.head_weight and feeds["head.bias"] is adapter.head_bias
