"""Prompt tuning and prefix tuning in words, by the dimensions on which they differ."""

from __future__ import annotations

DIMENSIONS = (
    (
        "Parameters",
        "P × H: one vector of the embedding's width for each of P virtual tokens. Often under 0.1 % of the model.",
        "Σ 2 × K × P × D: keys and values for P virtual tokens in every layer. Often 0.1 to 1 % of the model.",
    ),
    (
        "Where they are added",
        "Once, at the input: in front of the text's embeddings or behind them. All layers above see them as words.",
        "In every layer: in front of the keys and values that its attention reads.",
    ),
    (
        "How it is implemented",
        "Vectors are joined to the embedded text. On the device they are extra embeddings; where attention is causal "
        "they are run through the model once and stored as keys and values.",
        "Keys and values are a cache that is already there: they are fed as past-key-values, the graph stays as it is "
        "and nothing is computed for them.",
    ),
    (
        "Size",
        "The smallest there is: kilobytes. On a decoder the stored keys and values are as large as a prefix of the "
        "same length.",
        "About 2 × the number of layers times as much as a prompt of the same length, less where key/value heads are "
        "shared.",
    ),
    (
        "Flexibility",
        "Acts through the frozen layers only, so it steers what the model can do already. It needs no access to the "
        "layers, and tasks swap by swapping a few vectors.",
        "Acts on each layer directly, so it can move the model further; lengths may differ by layer. Tasks swap by "
        "swapping a cache, and one batch may mix them.",
    ),
    (
        "When to use which",
        "Many tasks on one device, few bytes to ship, a large base, a task close to what the base knows. It wants a "
        "high learning rate and patience.",
        "A small base, generation, hard or unusual tasks, few steps to train, or an encoder that "
        "must answer as fast as its base.",
    ),
)
"""(dimension, prompt tuning, prefix tuning)"""

PAPERS = (
    "Prompt tuning: Lester, Al-Rfou and Constant 2021, The Power of Scale for Parameter-Efficient Prompt Tuning. "
    "Prefix tuning: Li and Liang 2021, Prefix-Tuning: Optimizing Continuous Prompts for Generation; for encoders, "
    "P-Tuning v2: Liu et al. 2022."
)
LETTERS = "P virtual tokens, H width of the embedding, K key/value heads, D size of a head; Σ is over the layers."
