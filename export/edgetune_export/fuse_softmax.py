"""Attention whose softmax takes whole rows of scores, not tiles."""

from __future__ import annotations

import numpy as np

from edgetune_export.operators import HEAD_SINK
from edgetune_export.rewriter import Rewriter, attribute

NO_SINK = -1e30
"""A score that takes no share of any softmax in float32."""


def whole_rows(rewriter: Rewriter) -> None:
    """Gives each GroupQueryAttention a sink that takes nothing, which changes no result.

    ONNX Runtime (1.29 to 1.32) computes one that has neither sink nor soft cap in tiles whose size follows the
    processor's cache. Where it does not know that, in WebAssembly and on Android, tiles are a few rows, and a prompt of
    128 tokens takes eight times as long (microsoft/onnxruntime#33196). Whole rows are as fast elsewhere, steps faster.
    """
    for node in rewriter.nodes("GroupQueryAttention"):
        has_sink = len(node.inputs) > HEAD_SINK and node.inputs[HEAD_SINK] is not None
        if has_sink or attribute(node, "softcap", 0.0):
            continue
        heads = attribute(node, "num_heads")
        sinks = rewriter.once(("no_sink", heads), f"no_sink.{heads}", np.full(heads, NO_SINK, np.float32))
        node.resize_inputs(max(len(node.inputs), HEAD_SINK + 1))
        node.replace_input_with(HEAD_SINK, sinks)
