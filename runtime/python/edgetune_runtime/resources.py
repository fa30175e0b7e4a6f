"""What onnxruntime may use of the device: threads, how they wait, memory between runs; and its profiler."""

from __future__ import annotations

import os
from dataclasses import dataclass

import onnxruntime as ort

from .errors import OptionError

QUIET = 3
"""Errors only: onnxruntime's warnings are for the exporter."""


@dataclass(frozen=True)
class Resources:
    """What onnxruntime may use of the device.

    Attributes:
        threads: of one run; None: one per physical core.
        spin: threads that wait for work spin for a moment before they sleep: quicker answers for a warmer device.
            They stop when no call is running, so that models of one process do not slow each other down.
        arena: memory for activations is kept between runs: quicker, at the price of the most that a run has needed.
        profile: a path that onnxruntime's profiles begin with, one JSON file a graph, whole when the model is let go;
            for chrome://tracing or ui.perfetto.dev.
    """

    threads: int | None = None
    spin: bool = True
    arena: bool = True
    profile: str | os.PathLike[str] | None = None


def session_options(resources: Resources, name: str) -> ort.SessionOptions:
    """For a session over the graph called `name`; raises OptionError for a number of threads below 1."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = QUIET
    options.intra_op_num_threads = thread_count(resources.threads)
    # a pattern is stored for every new length of the mask: it would grow with each token and save nothing
    options.enable_mem_pattern = False
    options.enable_cpu_mem_arena = resources.arena
    if resources.spin:
        # measured: the threads of an idle model made steps of another one in the process 2.6 times as long
        options.add_session_config_entry("session.force_spinning_stop", "1")
    else:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if resources.profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = f"{os.fspath(resources.profile)}-{name}"
    return options


def thread_count(threads: int | None) -> int:
    """The number to give to onnxruntime; 0 lets it choose. Raises OptionError for numbers below 1."""
    if threads is None:
        # where the process may use fewer cores than there are, onnxruntime would still start a thread for each
        usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
        return 0 if usable is None or usable == os.cpu_count() else usable
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise OptionError(f"threads: is {threads!r}. Pass a whole number of at least 1, or None.")
    return threads
