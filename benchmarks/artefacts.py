"""What the engines of `peers.py` run: one model in the form of each, made once into a folder and kept."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetune_export.ecosystem import written_beside
from edgetune_export.graphs import lean, write_graph
from edgetune_export.manifest import described, manifest_text
from edgetune_export.new_positions import write_new_positions
from edgetune_export.quantize import quantized
from edgetune_export.trace import decoder_graph

from edgetune.models.base import Base, base_from
from edgetune.models.rounding import Weights, roundings

sys.path.insert(0, str(Path(__file__).parent))
from graphs import llama


@dataclass(frozen=True)
class Pythons:
    """Interpreters: this one has torch and edgetune; peers live in environments of their own.

    Attributes:
        peers: has onnxruntime-genai, llama-cpp-python and gguf, or some of them.
        optimum: has optimum-onnx and the transformers that it wants.
    """

    peers: str
    optimum: str

    def has(self, python: str, module: str) -> bool:
        try:
            return subprocess.run([python, "-c", f"import {module}"], capture_output=True).returncode == 0
        except OSError:
            return False


def tokenizer() -> Any:
    """A plain one, byte by byte and a name for every other id: none of the engines is asked for text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    names = ["<unk>", "<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    names += [f"<{i}>" for i in range(len(names), 49152)]
    inner = Tokenizer(models.BPE({name: i for i, name in enumerate(names)}, [], unk_token="<unk>"))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


class Artefacts:
    """The folder, and one function for each thing in it; the traced model is held until the last graph is written."""

    def __init__(self, folder: Path, pythons: Pythons) -> None:
        self.folder, self.pythons = folder, pythons
        self.base: Base | None = None
        self.traced: Any = None

    def forget(self) -> None:
        """Frees the model that the artefacts were made of: what is measured has the memory to itself."""
        self.base = self.traced = None

    def made(self, name: str, make: Callable[[Path], None]) -> Path:
        """The path of `name`, made now if it is not there; a half-made one never gets that name."""
        path, half = self.folder / name, self.folder / f".{name}.half"
        if not path.exists():
            print(f"making {path}", flush=True)
            self.folder.mkdir(parents=True, exist_ok=True)
            subprocess.run(["rm", "-rf", str(half)], check=True)
            make(half)
            half.rename(path)
        return path

    def checkpoint(self) -> Path:
        """Hugging Face's form."""

        def make(half: Path) -> None:
            self.the_base().model.save_pretrained(half)  # type: ignore[operator]
            tokenizer().save_pretrained(half)
            path = half / "tokenizer_config.json"
            config = json.loads(path.read_text())
            path.write_text(json.dumps({**config, "tokenizer_class": "PreTrainedTokenizerFast"}))
            path = half / "config.json"
            config = json.loads(path.read_text())
            path.write_text(json.dumps({**config, "rope_theta": config["rope_parameters"]["rope_theta"]}))

        return self.made("checkpoint", make)

    def the_base(self) -> Base:
        if self.base is None:
            plain = llama()
            self.base = base_from(plain.model, tokenizer(), plain.name, "generate")
        return self.base

    def bundle(self, name: str, weights: Weights) -> Path:
        """Ours."""

        def make(half: Path) -> None:
            base = self.the_base()
            if self.traced is None:
                self.traced = decoder_graph(base)
            half.mkdir()
            rounding = roundings(base, weights)
            graph = quantized(lean(self.traced.clone(), base, rounding), rounding, weights)
            write_graph(graph, half / "model.onnx", base, single_file=False)
            write_new_positions(half / "model.onnx")
            (half / "tokenizer.json").write_text(base.tokenizer.backend_tokenizer.to_str())  # type: ignore[union-attr]
            written_beside(half, base, shared=True)
            description = described(
                base, form="shared", task="generate", weights=weights, pooling="mean", adapters=[], folded=None,
                has_new_positions=True,
            )  # fmt: skip
            (half / "bundle.json").write_text(manifest_text(description, half))

        return self.made(name, make)

    def genai(self, precision: str) -> Path:
        """By onnxruntime-genai's own builder; it wants torch, so it runs in this interpreter from the peer's folder."""

        def make(half: Path) -> None:
            where = "import onnxruntime_genai, os; print(os.path.dirname(onnxruntime_genai.__file__))"
            found = subprocess.run([self.pythons.peers, "-c", where], capture_output=True, text=True, check=True)
            builder = Path(found.stdout.strip()) / "models" / "builder.py"
            command = [
                sys.executable, str(builder), "-i", str(self.checkpoint()), "-o", str(half), "-p", precision,
                "-e", "cpu", "-c", str(self.folder / ".cache"), "--extra_options", "int4_block_size=32",
                "shared_embeddings=true" if precision == "int4" else "int4_accuracy_level=4",
            ]  # fmt: skip
            run(command)

        return self.made(f"genai-{precision}", make)

    def gguf(self, kind: str) -> Path:
        """llama.cpp's, by the script beside this one."""
        script = Path(__file__).with_name("gguf_file.py")
        source = self.checkpoint() if kind == "f32" else self.gguf("f32")
        return self.made(f"{kind}.gguf", lambda half: run([self.pythons.peers, script, source, half, kind]))

    def optimum(self) -> Path:
        """By Optimum's own exporter."""
        code = (
            "import sys; from optimum.onnxruntime import ORTModelForCausalLM as M;"
            "M.from_pretrained(sys.argv[1], export=True).save_pretrained(sys.argv[2])"
        )
        return self.made("optimum", lambda half: run([self.pythons.optimum, "-c", code, self.checkpoint(), half]))

    def transformers_js(self) -> Path:
        """Optimum's graph in the folder that transformers.js reads: fp32, and as its conversion script rounds it."""
        code = (
            "import sys, onnx; from onnxruntime.quantization import quantize_dynamic, QuantType;"
            "from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer as Q;"
            "source, folder = sys.argv[1:];"
            "q = Q(onnx.load(source), block_size=32, is_symmetric=True); q.process();"
            "onnx.save_model(q.model.model, folder + '/model_q4.onnx');"
            "quantize_dynamic(source, folder + '/model_quantized.onnx', weight_type=QuantType.QInt8,"
            " extra_options={'EnableSubgraph': True, 'MatMulConstBOnly': True})"
        )

        def make(half: Path) -> None:
            (half / "onnx").mkdir(parents=True)
            source = self.optimum() / "model.onnx"
            run([self.pythons.optimum, "-c", code, source, half / "onnx"])
            (half / "onnx" / "model.onnx").hardlink_to(source)
            for name in ("config.json", "generation_config.json"):
                shutil.copy(self.optimum() / name, half)
            for name in ("tokenizer.json", "tokenizer_config.json"):
                shutil.copy(self.checkpoint() / name, half)

        return self.made("transformers-js", make)


def run(command: list[Any]) -> None:
    """What it prints is shown only where it fails."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([str(x) for x in command], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stderr[-2000:]}")
