"""What a model may need of memory, estimated from its manifest; the context and the batches that a limit leaves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .cache import STEP
from .errors import MemoryLimitError
from .layer import Layer
from .manifest import Manifest

FLOAT_BYTES = 4
HELD = {"fp32": 1.1, "fp16": 3.0, "int8": 1.5, "int4": 1.75}
"""By precision, what onnxruntime holds of each byte of a graph's files. Measured: it packs weights for its products and
leaves the file's pages alone; of float16 it makes float32 first."""
TOKENIZER_HELD = 30
"""The same for a tokenizer's file, whose tables are hashed."""
VECTORS_A_POSITION = 32
"""Vectors of the hidden size that a run holds for each position. Measured: 21 to 27, with the memory arena's room."""
FEWEST_POSITIONS = 64
"""A shorter context is not offered: nothing could be done with it."""


@dataclass(frozen=True)
class Memory:
    """What was decided when a model was loaded. Sizes are estimates, on the high side, of what the model adds to a
    process that has imported the runtime (60 MB or so)."""

    limit_bytes: int | None
    """What the caller allows; None: no limit, and nothing is made smaller."""
    fixed_bytes: int
    """Of the weights as onnxruntime holds them, the tokenizer and the adapters."""
    cache_bytes: int
    """Of the keys and values of one position of one text; 0 for an encoder."""
    vector_bytes: int
    """Of what a run holds for each position."""
    pair_bytes: int
    """Of what attention holds for each pair of positions."""
    max_positions: int | None
    """The context: virtual tokens, text and new tokens; the base's own where the limit allows it. None: no end."""
    whole_batches: bool
    """Whether the rows of a batch run together, as an encoder's do, and not one by one as a decoder's texts."""

    def run_bytes(self, positions: int, rows: int = 1) -> int:
        """What a call over `rows` texts of as many positions needs beside the fixed bytes."""
        run = self.vector_bytes * positions + self.pair_bytes * positions**2
        return rows * self.cache_bytes * positions + run * (rows if self.whole_batches else 1)

    def groups(self, positions: Sequence[int], most: int, rows_each: int = 1) -> list[range]:
        """Which texts run together: neighbours, at most `most`, as many as the limit allows.

        Each takes `rows_each` rows of as many positions as `positions` says of it. Raises MemoryLimitError where the
        rows of a single text are too many.
        """
        found, start = [], 0
        while start < len(positions):
            end = start + 1
            if rows_each > 1 and not self._fits(positions[start:end], rows_each):
                raise MemoryLimitError(
                    f"{rows_each} rows of {positions[start]} positions do not fit a memory_limit of {self.limit_bytes} "
                    "bytes. Ask for fewer results, beams or members, or for fewer new tokens, or allow more."
                )
            while end < min(len(positions), start + most) and self._fits(positions[start : end + 1], rows_each):
                end += 1
            found.append(range(start, end))
            start = end
        return found

    def _fits(self, positions: Sequence[int], rows_each: int) -> bool:
        if self.limit_bytes is None:
            return True
        longest = max(positions)
        if self.cache_bytes:
            # a cache grows by half again, in steps
            longest = -(-(longest + longest // 2) // STEP) * STEP
        longest = longest if self.max_positions is None else min(longest, self.max_positions)
        return self.fixed_bytes + self.run_bytes(longest, rows_each * len(positions)) <= self.limit_bytes


def planned_memory(
    manifest: Manifest, limit_bytes: int | None = None, adapter_limit_bytes: int | None = None
) -> Memory:
    """The memory of a bundle's model; under a limit with the longest context that fits beside the fixed bytes.

    Raises MemoryLimitError where that would be fewer than 64 positions, or the base's own if it has fewer.
    """
    graph, pair = manifest.graph, manifest.encoder_decoder
    heads = max(1, graph.hidden_size // max(1, graph.layers[0].head_size)) if graph.layers else 1
    cached = graph.layers + (pair.cross_layers if pair else ()) if manifest.kind != "encoder" else ()
    # a standalone decoder's past goes in and comes back: it is there twice
    copies = 2 if manifest.form == "standalone" else 1
    memory = Memory(
        limit_bytes=limit_bytes,
        fixed_bytes=fixed_bytes(manifest, adapter_limit_bytes),
        cache_bytes=copies * sum(map(layer_bytes, cached)),
        vector_bytes=VECTORS_A_POSITION * graph.hidden_size * FLOAT_BYTES,
        pair_bytes=heads * FLOAT_BYTES,
        max_positions=graph.max_positions,
        whole_batches=manifest.kind != "decoder",
    )
    if limit_bytes is None:
        return memory
    least = FEWEST_POSITIONS if graph.max_positions is None else min(FEWEST_POSITIONS, graph.max_positions)
    fits = longest_text(memory, limit_bytes - memory.fixed_bytes)
    if fits < least:
        needed = memory.fixed_bytes + memory.run_bytes(least)
        raise MemoryLimitError(
            f"{manifest.base.name}: needs about {needed} bytes for {least} positions, {memory.fixed_bytes} of them for "
            f"weights, tokenizer and adapters, and memory_limit allows {limit_bytes}. Allow more, or export the base "
            "in fewer bits."
        )
    positions = fits if graph.max_positions is None else min(fits, graph.max_positions)
    return Memory(**{**vars(memory), "max_positions": positions})


def longest_text(memory: Memory, free_bytes: int) -> int:
    """The most positions of one text whose call needs no more than `free_bytes`; 0 where none do."""
    linear, square = memory.cache_bytes + memory.vector_bytes, memory.pair_bytes
    if free_bytes <= 0:
        return 0
    found = int((math.sqrt(linear**2 + 4 * square * free_bytes) - linear) / (2 * square))
    while memory.run_bytes(found) > free_bytes:
        found -= 1
    return found


def fixed_bytes(manifest: Manifest, adapter_limit_bytes: int | None) -> int:
    """What is there whatever is asked."""
    pair, files = manifest.encoder_decoder, manifest.files
    weights = weight_bytes(manifest) * HELD.get(manifest.precision, max(HELD.values()))
    tokenizers = [manifest.tokenizer.file, *([pair.target_tokenizer] if pair and pair.target_tokenizer else [])]
    adapters = sum(files[file].size_bytes for file in manifest.adapters.values())
    held = adapters if adapter_limit_bytes is None else min(adapters, adapter_limit_bytes)
    return int(weights) + TOKENIZER_HELD * sum(files[file].size_bytes for file in tokenizers) + held


def weight_bytes(manifest: Manifest) -> int:
    """Of the graphs that this runtime opens, and of the weights beside each."""
    pair = manifest.encoder_decoder
    graphs = [manifest.graph.file, *([pair.encoder_file] if pair else [])]
    sizes = {name: entry.size_bytes for name, entry in manifest.files.items()}
    return sum(size for name, size in sizes.items() if any(name == x or name.startswith(f"{x}.") for x in graphs))


def layer_bytes(layer: Layer) -> int:
    """Of one position's keys and values, float32."""
    return 2 * layer.key_value_heads * layer.head_size * FLOAT_BYTES
