"""One engine in a process of the interpreter that has it: a line on its standard input is its turn.

    PYTHON engines.py loop|ours|genai|llama|optimum|torch|peft PATH --threads 2 --prompt 128 --new 128 [--sample]

It answers each turn with a line of JSON: seconds of the prompt up to the first token, seconds of the tokens after it,
and their ids. The first line of all says which version runs. Nothing is imported that the engine does not need.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

CONTEXT = 2048
"""Positions that every engine has room for."""

SAMPLING = {"temperature": 0.8, "top_k": 40, "top_p": 0.95}
"""Of every engine, where tokens are drawn."""


class Turn(NamedTuple):
    """What one generation took."""

    prompt_s: float
    steps_s: float
    tokens: list[int]


Engine = tuple[str, Callable[[list[int], int], Turn]]
"""Its name with its version, and a function of a prompt's ids and the number of steps after the first token."""


def prompt_ids(length: int, vocab_size: int = 49152) -> list[int]:
    """The same random ids for every engine; none of the first hundred, where special tokens are."""
    rng = random.Random(0)
    return [rng.randrange(100, vocab_size) for _ in range(length)]


def loop(path: str, threads: int, sampled: bool) -> Engine:
    """A bare onnxruntime loop over any decoder of the usual names, its cache bound in place; it never draws."""
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    options.enable_mem_pattern = False
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    shapes = {x.name: x.shape for x in session.get_inputs()}
    pasts = [name for name in shapes if name.startswith("past_key_values.")]
    described = Path(path).with_name("genai_config.json")  # that builder's graphs leave the size of a head open
    size = json.loads(described.read_text())["model"]["decoder"]["head_size"] if described.exists() else None
    caches = {x: np.zeros((1, shapes[x][1], CONTEXT, size or shapes[x][3]), np.float32) for x in pasts}
    logits_shape = next(x.shape for x in session.get_outputs() if x.name == "logits")
    optional = {x.name for x in session.get_overridable_initializers()}
    last_alone, vocab_size = "num_logits_to_keep" in optional, logits_shape[-1]
    mask, binding = np.ones((1, CONTEXT), np.int64), session.io_binding()

    def put(name: str, array: np.ndarray, *, out: bool = False) -> None:
        bind = binding.bind_output if out else binding.bind_input
        bind(name, "cpu", 0, array.dtype.type, list(array.shape), array.ctypes.data)

    for name, cache in caches.items():
        put(name, cache)
        put(name.replace("past_key_values", "present"), cache, out=True)

    def run(ids: np.ndarray, logits: np.ndarray, used: int) -> int:
        put("input_ids", ids)
        put("attention_mask", mask[:, :used])
        put("logits", logits, out=True)
        session.run_with_iobinding(binding)
        return int(logits[0, -1].argmax())

    def turn(prompt: list[int], steps: int, _alive: Any = caches) -> Turn:
        ids = np.array([prompt], np.int64)
        first_logits = np.empty((1, 1 if last_alone else len(prompt), vocab_size), np.float32)
        step_ids, logits = np.empty((1, 1), np.int64), np.empty((1, 1, vocab_size), np.float32)
        start = time.perf_counter()
        tokens = [run(ids, first_logits, len(prompt))]
        first = time.perf_counter()
        for used in range(len(prompt) + 1, len(prompt) + steps + 1):
            step_ids[0, 0] = tokens[-1]
            tokens.append(run(step_ids, logits, used))
        return Turn(first - start, time.perf_counter() - first, tokens)

    return f"onnxruntime {ort.__version__}", turn


def ours(path: str, threads: int, sampled: bool) -> Engine:
    """edgetune's runtime over a bundle, as an app calls it."""
    import edgetune_runtime

    model = edgetune_runtime.load(path, threads=threads, verify=False)
    options = {**SAMPLING, "seed": 0} if sampled else {"temperature": 0.0}

    def turn(prompt: list[int], steps: int) -> Turn:
        count = steps + 1
        found = model.generate(prompt, adapter=None, max_new_tokens=count, min_new_tokens=count, **options)
        timing = found.timing
        return Turn(timing.first_token_ms / 1e3, steps / timing.tokens_per_second, found.token_ids)

    return "edgetune-runtime", turn


def genai(path: str, threads: int, sampled: bool) -> Engine:
    import onnxruntime_genai as og  # type: ignore[import-not-found]

    config = og.Config(path)
    config.overlay(json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": threads}}}}))
    model = og.Model(config)

    def turn(prompt: list[int], steps: int) -> Turn:
        parameters = og.GeneratorParams(model)
        wanted = len(prompt) + steps + 1
        # the end token is a token like any other here: all engines write as many
        drawn = {"do_sample": True, "random_seed": 0, **SAMPLING} if sampled else {"do_sample": False}
        parameters.set_search_options(max_length=CONTEXT, min_length=wanted, **drawn)
        generator = og.Generator(model, parameters)
        start = time.perf_counter()
        generator.append_tokens(prompt)
        generator.generate_next_token()
        first = time.perf_counter()
        for _ in range(steps):
            generator.generate_next_token()
        end = time.perf_counter()
        return Turn(first - start, end - first, [int(x) for x in generator.get_sequence(0)[len(prompt) :]])

    return f"onnxruntime-genai {og.__version__}", turn


def llama(path: str, threads: int, sampled: bool) -> Engine:
    """llama.cpp by its own functions: no copy of logits to Python, its own samplers."""
    import llama_cpp as lib  # type: ignore[import-not-found]

    lib.llama_backend_init()
    quiet = lib.llama_log_callback(lambda *_: None)
    lib.llama_log_set(quiet, None)
    model = lib.llama_model_load_from_file(path.encode(), lib.llama_model_default_params())
    parameters = lib.llama_context_default_params()
    parameters.n_ctx, parameters.n_threads, parameters.n_threads_batch = CONTEXT, threads, threads
    context: Any = lib.llama_init_from_model(model, parameters)
    sampler: Any = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
    drawing = [
        lib.llama_sampler_init_top_k(SAMPLING["top_k"]), lib.llama_sampler_init_top_p(SAMPLING["top_p"], 1),
        lib.llama_sampler_init_temp(SAMPLING["temperature"]), lib.llama_sampler_init_dist(0),
    ]  # fmt: skip
    for each in drawing if sampled else [lib.llama_sampler_init_greedy()]:
        lib.llama_sampler_chain_add(sampler, each)

    def run(ids: list[int]) -> int:
        array = (lib.llama_token * len(ids))(*ids)
        if lib.llama_decode(context, lib.llama_batch_get_one(array, len(ids))) != 0:
            raise RuntimeError("llama_decode failed")
        return int(lib.llama_sampler_sample(sampler, context, -1))

    def turn(prompt: list[int], steps: int, _keep: Any = quiet) -> Turn:
        lib.llama_memory_clear(lib.llama_get_memory(context), True)
        start = time.perf_counter()
        tokens = [run(prompt)]
        first = time.perf_counter()
        for _ in range(steps):
            tokens.append(run(tokens[-1:]))
        return Turn(first - start, time.perf_counter() - first, tokens)

    return f"llama-cpp-python {lib.__version__}", turn


def timed_generate(model: Any, prompt: list[int], steps: int, sampled: bool) -> Turn:
    """transformers' `generate`, each token's time noted by a stopping criterion that never stops."""
    import torch
    from transformers import StoppingCriteriaList

    times: list[float] = []

    def note(input_ids: Any, *_: Any, **__: Any) -> Any:
        times.append(time.perf_counter())
        return torch.zeros(len(input_ids), dtype=torch.bool)

    ids = torch.tensor([prompt])
    start = time.perf_counter()
    out = model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=steps + 1, min_new_tokens=steps + 1,
        stopping_criteria=StoppingCriteriaList([note]),  # type: ignore[list-item]
        **({"do_sample": True, **SAMPLING} if sampled else {"do_sample": False}),
    )  # fmt: skip
    return Turn(times[0] - start, times[-1] - times[0], out[0, len(prompt) :].tolist())


def optimum(path: str, threads: int, sampled: bool) -> Engine:
    from importlib.metadata import version

    import onnxruntime as ort
    import torch
    from optimum.onnxruntime import ORTModelForCausalLM  # type: ignore[import-not-found]

    torch.set_num_threads(threads)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    model = ORTModelForCausalLM.from_pretrained(path, session_options=options)
    return f"optimum {version('optimum')}", lambda prompt, steps: timed_generate(model, prompt, steps, sampled)


def eager(path: str, threads: int, sampled: bool) -> Engine:
    import torch
    import transformers

    torch.set_num_threads(threads)
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(path).eval()
    name = f"torch {torch.__version__.partition('+')[0]}, transformers {transformers.__version__}"
    return name, lambda prompt, steps: timed_generate(model, prompt, steps, sampled)


def peft(path: str, threads: int, sampled: bool) -> Engine:
    """torch with a prefix of ten tokens that PEFT holds in front of the text."""
    import torch
    import transformers
    from peft import PrefixTuningConfig, TaskType, get_peft_model
    from peft import __version__ as version

    torch.set_num_threads(threads)
    plain: Any = transformers.AutoModelForCausalLM.from_pretrained(path)
    model = get_peft_model(plain, PrefixTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=10)).eval()
    return f"PEFT {version}", lambda prompt, steps: timed_generate(model, prompt, steps, sampled)


ENGINES = {"loop": loop, "ours": ours, "genai": genai, "llama": llama, "optimum": optimum, "torch": eager, "peft": peft}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("path")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--new", type=int, default=128)
    parser.add_argument("--sample", action="store_true")
    given = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    name, turn = ENGINES[given.engine](given.path, given.threads, given.sample)
    prompt = prompt_ids(given.prompt)
    print(json.dumps(name), file=answers, flush=True)
    for _ in sys.stdin:
        print(json.dumps(turn(prompt, given.new)), file=answers, flush=True)


if __name__ == "__main__":
    main()
