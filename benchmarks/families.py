"""Every family of transformers whose attention can be replaced, tried on a two-layer random model: exported with a
prompt and a prefix, verified, and compared with transformers' own attention.

    python benchmarks/families.py                            # a line a family in families.jsonl; goes on where it ended
    python benchmarks/families.py --only llama gpt_oss       # these again
    python benchmarks/families.py --write docs/families.md   # the table of what is in families.jsonl
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import logging
import multiprocessing
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch
import transformers
from edgetune_export.bundle import export_bundle
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedModel
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING, CONFIG_MAPPING_NAMES, model_type_to_module_name

from edgetune.adapter import Adapter, adapter_from
from edgetune.errors import UnsupportedModelError, VerificationError
from edgetune.methods.head import LinearHead
from edgetune.methods.prefix import Prefix
from edgetune.methods.prompt import Prompt
from edgetune.methods.tuned import Tuned
from edgetune.models.attention import NAME as OURS
from edgetune.models.base import Base, base_from
from edgetune.models.outside import OUTSIDE
from edgetune.models.probes import backbone

sys.path.insert(0, str(Path(__file__).parent))
from family_table import table
from tiny_configs import VOCAB, tiny_config

SPREAD = 0.15
"""Of random weights: at the usual 0.02 attention is nearly uniform and a wrong mask hardly shows."""

TOLERANCE = 1e-4
PREFIX, PROMPT, CLASSES = 4, 3, 3
PAIR_CLASS = "ForConditionalGeneration"
INTERFACE = "ALL_ATTENTION_FUNCTIONS"
OTHER_INPUTS = ("vision", "audio", "image", "video", "speech", "codec", "qformer", "vq", "protein")


def modeling_of(model_type: str) -> list[Any]:
    """The family's modules of models."""
    name = model_type_to_module_name(model_type)
    folder = Path(transformers.__file__).parent / "models" / name
    files = sorted(folder.glob("modeling_*.py"))
    return [importlib.import_module(f"transformers.models.{name}.{x.stem}") for x in files if "_tf_" not in x.stem]


def classes_of(model_type: str) -> list[type[PreTrainedModel]]:
    """The family's classes of models that read ids."""
    found = []
    for module in modeling_of(model_type):
        for _, cls in inspect.getmembers(module, inspect.isclass):
            mine = getattr(getattr(cls, "config_class", None), "model_type", None) == model_type
            if mine and cls.__module__ == module.__name__ and "input_ids" in inspect.signature(cls.forward).parameters:
                found.append(cls)
    return found


def uses_interface(model_type: str) -> bool:
    """Its attention goes through transformers' interface, or is brought there."""
    name = model_type_to_module_name(model_type)
    folder = Path(transformers.__file__).parent / "models" / name
    marks = [INTERFACE, *(f"class {name}(" for name in OUTSIDE)]
    return any(mark in x.read_text("utf-8") for x in folder.glob("modeling_*.py") for mark in marks)


def reads_more_than_text(config: type) -> bool:
    """It has halves for images or sound; its text half is a family of its own."""
    return any(word in name for name in getattr(config, "sub_configs", {}) for word in OTHER_INPUTS)


def model_class(model_type: str) -> tuple[type, str] | None:
    """What makes the family's model, and our task for it; None where it reads no text."""
    if model_type in modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
        return AutoModelForSeq2SeqLM, "generate"
    causal = model_type in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    if causal and model_type not in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        return AutoModelForCausalLM, "generate"
    classes = classes_of(model_type)
    pair = getattr(CONFIG_MAPPING[model_type], "is_encoder_decoder", False) is True
    for suffix, task in (
        (PAIR_CLASS if pair else "ForCausalLM", "generate"),
        ("Model", "classify"),
        ("Transformer", "classify"),
    ):
        named = [x for x in classes if x.__name__.endswith(suffix) and not x.__name__.endswith("PreTrainedModel")]
        if named:
            return min(named, key=lambda x: len(x.__name__)), task
    return None


def families() -> list[str]:
    """Every `model_type` that reads text and whose attention goes through the interface."""
    found = []
    for model_type in CONFIG_MAPPING_NAMES:
        try:
            reads_text = uses_interface(model_type) and not reads_more_than_text(CONFIG_MAPPING[model_type])
            if reads_text and model_class(model_type) is not None:
                found.append(model_type)
        except (ImportError, AttributeError, KeyError):
            continue
    return sorted(found)


def tokenizer() -> Any:
    """One word a token."""
    inner = Tokenizer(models.WordLevel({f"w{i}": i for i in range(VOCAB)}, unk_token="w3"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="w3", bos_token="w1", eos_token="w2", pad_token="w0"
    )


def tiny_model(model_type: str) -> tuple[PreTrainedModel, str]:
    """Two layers of random weights, and our task for them."""
    torch.manual_seed(0)
    made = model_class(model_type)
    assert made is not None
    cls, task = made
    config = tiny_config(CONFIG_MAPPING[model_type])
    model = cls.from_config(config) if cls.__name__.startswith("Auto") else cls(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                weight.normal_(0, SPREAD)
            elif name.endswith("sinks"):
                weight.normal_(0, 1)
            else:
                weight += torch.randn_like(weight) * SPREAD
        for module in model.modules():
            if isinstance(module, torch.nn.Embedding) and module.padding_idx is not None:
                module.weight[module.padding_idx] = 0
    return model.float().eval(), task


def tiny_base(model: PreTrainedModel, task: str) -> Base:
    name = f"tiny {model.config.model_type}"
    try:
        return base_from(model, tokenizer(), name, task)
    except UnsupportedModelError as error:
        if "is an encoder;" not in str(error):
            raise
    return base_from(backbone(model), tokenizer(), name, "classify")


def adapters_of(base: Base) -> dict[str, Adapter]:
    """A random prefix, in every place where the family attends, and a random prompt."""
    if base.places is None:
        shapes, places = list(base.layers), None
    else:
        each = {place: base.places.shapes(place) for place in ("encoder", "decoder", "cross")}
        shapes, places = [x for of_place in each.values() for x in of_place], {k: len(v) for k, v in each.items()}
    sizes = [(x.key_value_heads, PREFIX, x.head_size) for x in shapes]
    prefix = Prefix([(torch.randn(size), torch.randn(size)) for size in sizes], places)
    prompt = Prompt(torch.randn(PROMPT, base.embedding_size) * base.embeddings.weight.std())
    found = {}
    rereads = getattr(base.model.config, "hidden_size_per_layer_input", None)  # as edgetune/methods/start.py refuses
    for name, soft in [("prefix", prefix)] + ([] if rereads else [("prompt", prompt)]):
        head = None
        if base.kind == "encoder":
            head = LinearHead(base.hidden_size, CLASSES)
            torch.nn.init.normal_(head.weight)
        labels = tuple(f"label {i}" for i in range(CLASSES)) if head else ()
        task = "classify" if head else "generate"
        found[name] = adapter_from(Tuned(base, soft, head), task=task, method=name, labels=labels)
    return found


@torch.no_grad()
def output(model: PreTrainedModel, attention: str | None = None) -> torch.Tensor:
    """Logits or states of a text of 23 tokens, or as many as the model has positions."""
    if attention is not None:
        model.set_attn_implementation(attention)
    longest = getattr(model.config, "max_position_embeddings", None)
    ids = torch.arange(4, 4 + min(23, longest if isinstance(longest, int) and longest > 0 else 23))[None]
    inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids[:, 3:20]
    return model(**inputs)[0]


def tried(model_type: str) -> dict[str, Any]:
    """One line of the results."""
    found: dict[str, Any] = {"model_type": model_type, "transformers": transformers.__version__}
    try:
        model, task = tiny_model(model_type)
        expected = output(model, "eager")
    except Exception as error:  # whatever a family's own code raises
        return {**found, "status": "not made", "message": first_line(error)}
    try:
        base = tiny_base(model, task)
        found["kind"] = base.kind
        own = expected if base.model is model else output(base.model, "eager")
        base.model.set_attn_implementation(OURS)
        eager = float((output(base.model) - own).abs().max() / max(1.0, float(own.abs().max())))
        found["eager"] = eager
        if not eager <= TOLERANCE:
            raise VerificationError(f"our attention and transformers' own differ by {eager:.1e}")
        with tempfile.TemporaryDirectory() as folder:
            checks = export_bundle(base, adapters_of(base), Path(folder) / "bundle").checks
    except UnsupportedModelError as error:
        refused = "could not be traced" not in str(error)
        return {**found, "status": "refused" if refused else "fails", "message": str(error)}
    except Exception as error:  # what is found here is an issue of ours
        return {**found, "status": "fails", "message": first_line(error)}
    for name in ("prompt", "prefix"):
        found[name] = max((x.difference / x.scale for x in checks if x.what.startswith(name)), default=None)
    return {**found, "status": "works"}


def first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"


def in_child(model_type: str, pipe: Any) -> None:
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    start = time.perf_counter()
    line = tried(model_type)
    pipe.send({**line, "seconds": round(time.perf_counter() - start, 1)})


def isolated(model_type: str, limit_s: float) -> dict[str, Any]:
    """`tried` in a process of its own, which ends with its time."""
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=in_child, args=(model_type, theirs))
    child.start()
    theirs.close()
    line = {"model_type": model_type, "status": "fails"}
    try:
        if ours.poll(limit_s):
            return ours.recv()
        return {**line, "status": "not done", "message": f"not done after {limit_s:.0f} s"}
    except EOFError:
        return {**line, "message": "the process died"}
    finally:
        child.kill()
        child.join()


def latest(results: Path) -> dict[str, dict[str, Any]]:
    """By family, the last line."""
    lines = results.read_text("utf-8").splitlines() if results.exists() else []
    return {line["model_type"]: line for line in map(json.loads, lines)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("families.jsonl"), help="a line a family")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="try these again")
    parser.add_argument("--limit", type=float, default=240, help="seconds for one family")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the table of what is in the results, and end")
    options = parser.parse_args()
    if options.write:
        options.write.write_text(table(list(latest(options.results).values())), encoding="utf-8")
        return
    done = latest(options.results)
    tried("llama")  # so that no child imports torch's exporter anew
    for model_type in options.only or [x for x in families() if x not in done]:
        line = isolated(model_type, options.limit)
        with options.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        print(line, flush=True)


if __name__ == "__main__":
    main()
