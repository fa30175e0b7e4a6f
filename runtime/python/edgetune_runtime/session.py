"""The ONNX graph of a bundle, opened with onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort

from .encoder_decoder import EncoderDecoder, cross_names, encoder_past_names, own_names
from .errors import BundleError
from .manifest import Manifest
from .optional_inputs import optional_inputs
from .resources import Resources, session_options

ELEMENT_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


ALONE = Resources()
"""The defaults: a model that has the device to itself."""


def open_session(path: Path, resources: Resources = ALONE) -> ort.InferenceSession:
    """A session over the graph at `path`; its weights stay in the file, mapped into memory.

    Raises BundleError if onnxruntime cannot open the graph, OptionError for a number of threads below 1.
    """
    options = session_options(resources, path.stem)
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own errors share no base but Exception
        raise BundleError(
            f"{path}: onnxruntime {ort.__version__} cannot open the graph ({error}). Export it again."
        ) from None


def past_names(layers: int) -> list[str]:
    """Names of the inputs of all keys and values, in the order in which adapters hold them."""
    return [f"past_key_values.{i}.{part}" for i in range(layers) for part in ("key", "value")]


def present_names(layers: int) -> list[str]:
    """Names of the outputs that belong to `past_names`."""
    return [f"present.{i}.{part}" for i in range(layers) for part in ("key", "value")]


def check_graph(session: ort.InferenceSession, manifest: Manifest, path: Path) -> None:
    """The graph has the inputs and outputs of its form; raises BundleError, naming one that is not there."""
    layers = len(manifest.graph.layers)
    inputs, outputs = ["input_ids", "attention_mask"], ["logits"]
    if manifest.encoder_decoder:
        own, cross = own_names(manifest.graph.layers), cross_names(manifest.encoder_decoder.cross_layers)
        inputs += ["encoder_attention_mask", *own[0], *cross[0]]
        outputs += own[1]
    elif manifest.kind == "decoder":
        inputs += past_names(layers)
        outputs += present_names(layers)
    elif manifest.form == "shared":
        inputs += ["prompt_embeds", *past_names(layers), "head.weight", "head.bias"]
        if manifest.graph.dense_heads:
            inputs += ["head.dense.weight", "head.dense.bias", "head.dense.activation"]
    if manifest.form == "shared" and not manifest.encoder_decoder:
        inputs += optional_inputs(manifest.graph)
    check_ends(session, inputs, outputs, path)
    last = next(x.shape[-1] for x in session.get_outputs() if x.name == "logits")
    if manifest.kind != "encoder" and isinstance(last, int) and last < manifest.graph.vocab_size:
        raise BundleError(
            f"{path}: the graph knows {last} tokens, and the manifest promises {manifest.graph.vocab_size}. Export the "
            "bundle again."
        )


def check_pair_encoder(session: ort.InferenceSession, manifest: Manifest, pair: EncoderDecoder, path: Path) -> None:
    """The same for the encoder of an encoder–decoder."""
    inputs = ["input_ids", "attention_mask", "prompt_embeds", *encoder_past_names(pair.encoder_layers)]
    inputs += optional_inputs(manifest.graph)
    check_ends(session, inputs, cross_names(pair.cross_layers)[1], path)


def check_ends(session: ort.InferenceSession, inputs: list[str], outputs: list[str], path: Path) -> None:
    """The graph has these inputs and outputs; raises BundleError, naming one that is not there."""
    given = {x.name for x in session.get_inputs()}, {x.name for x in session.get_outputs()}
    for wanted, have, word in ((inputs, given[0], "input"), (outputs, given[1], "output")):
        for name in wanted:
            if name not in have:
                raise BundleError(
                    f"{path}: the graph has no {word} `{name}`, and the manifest promises it. Export the bundle again."
                )


def element_type(session: ort.InferenceSession, name: str) -> type[np.floating]:
    """The number type of an input or output of the graph; raises BundleError if it is neither float32 nor float16."""
    kinds = {x.name: x.type for x in [*session.get_inputs(), *session.get_outputs()]}
    if kinds[name] not in ELEMENT_TYPES:
        raise BundleError(
            f"the graph's `{name}` is a {kinds[name]}, and float32 or float16 is read. Export the bundle again."
        )
    return ELEMENT_TYPES[kinds[name]]
