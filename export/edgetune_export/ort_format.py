"""Graphs in ONNX Runtime's own format, and the operators that a build of it for these graphs alone needs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import onnxruntime as ort

from edgetune.errors import ConfigError
from edgetune.models.base import Base
from edgetune.models.rounding import Weights, roundings

OPERATORS = "required_operators.config"
SUFFIX = ".ort"
MOST_BYTES = 1_800_000_000
"""A flatbuffer ends at 2 GB and has no weights beside it."""


def check_ort(base: Base, weights: Weights) -> None:
    """Raises ConfigError for weights that the format would make large again: it stores what ONNX Runtime folds."""
    if any(rounding.bits == 16 for rounding in roundings(base, weights).values()):
        raise ConfigError(
            "--format ort stores float16 weights as the float32 that they are computed in; choose fp32, int8 or int4"
        )


def as_ort(graphs: Sequence[Path]) -> list[Path]:
    """The graphs, each `.onnx` file and what is beside it replaced by one `.ort` file, and `OPERATORS` in their folder.

    Optimised as far as is the same on every machine; a runtime without an optimiser, as a minimal build is, loses
    nothing.

    Raises:
        ConfigError: a graph and its weights are more than the format holds.
    """
    written = []
    for path in graphs:
        beside = path.with_name(f"{path.name}.data")
        size = path.stat().st_size + (beside.stat().st_size if beside.exists() else 0)
        if size > MOST_BYTES:
            raise ConfigError(
                f"the graph has {size / 1e9:.1f} GB, and the .ort format ends at 2 GB: choose --precision int4 or "
                "int8, or leave --format out"
            )
        target = path.with_suffix(SUFFIX)
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(target)
        options.add_session_config_entry("session.save_model_format", "ORT")
        ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        path.unlink()
        beside.unlink(missing_ok=True)
        written.append(target)
    write_operators(written)
    return written


def write_operators(graphs: Sequence[Path]) -> None:
    """By onnxruntime's own tool, with the number types of each operator; it names the files, not where they lay."""
    from onnxruntime.tools.ort_format_model import create_config_from_models

    logging.getLogger("ort_format_model.utils").setLevel(logging.WARNING)
    path = graphs[0].with_name(OPERATORS)
    create_config_from_models(graphs, path, True)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(f"{graphs[0].parent}/", ""), encoding="utf-8")
