"""How long `edgetune export` takes and how much memory it needs at its peak, beside the bound it is held to.

    python benchmarks/export.py                     # the 135 M Llama shape, fp32 and int4
    python benchmarks/export.py --large             # 642 M parameters, more than protobuf's 2 GB in fp32
    python benchmarks/export.py --model DIR --precision int8

The bound is 1.5 times the weights in float32 and 1 GB. Each export is a process of its own, and its peak is the
resident memory that the system saw (getrusage, ru_maxrss), mapped files included.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from places import SHARED, shared

SHAPES: dict[str, dict[str, Any]] = {
    "135M": dict(
        hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3
    ),
    "642M": dict(
        hidden_size=1536, intermediate_size=6144, num_hidden_layers=16, num_attention_heads=16, num_key_value_heads=8
    ),
}
PROGRAM = "from edgetune.cli import main; main()"


def checkpoint(name: str, folder: Path, tokenizer: Path) -> Path:
    """A Llama of that shape with random weights and somebody's tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

    fast = AutoTokenizer.from_pretrained(tokenizer)
    torch.manual_seed(0)
    config = LlamaConfig(
        **SHAPES[name], vocab_size=49152, tie_word_embeddings=True, max_position_embeddings=2048,
        rope_parameters={"rope_type": "default", "rope_theta": 1e5},
        bos_token_id=fast.bos_token_id, eos_token_id=fast.eos_token_id,
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(folder / name)
    fast.save_pretrained(folder / name)
    return folder / name


def weight_bytes(model: Path) -> int:
    """Of the weights in float32, whatever the checkpoint holds."""
    from safetensors import safe_open

    total = 0
    for file in model.glob("*.safetensors"):
        with safe_open(str(file), framework="np") as opened:
            for key in opened.keys():  # noqa: SIM118
                count = 1
                for n in opened.get_slice(key).get_shape():
                    count *= n
                total += 4 * count
    return total


def measured(model: Path, precision: str, out: Path) -> tuple[float, float, float, float]:
    """Seconds, processor seconds, peak in MB and the bundle's MB."""
    command = [sys.executable, "-c", PROGRAM, "export", "--model", str(model), "--precision", precision]
    started = time.perf_counter()
    process = subprocess.Popen([*command, "--out", str(out)], stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"the export of {model} in {precision} failed; run it by hand")
    size = sum(p.stat().st_size for p in out.rglob("*") if p.is_file())
    seconds = time.perf_counter() - started
    unit = 1 if sys.platform == "darwin" else 1024
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * unit / 1e6, size / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=SHARED, help="the folder with models/ and data/")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--model", type=Path, help="measure this checkpoint instead")
    parser.add_argument("--precision", action="append", help="fp32 and int4 unless given")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        model = options.model or checkpoint(
            "642M" if options.large else "135M", place, shared("models/stories260K-hf", options.shared)
        )
        weights = weight_bytes(model)
        bound = 1.5 * weights / 1e6 + 1000
        print(f"{model.name}: {weights / 1e6:,.0f} MB of weights in fp32; bound {bound:,.0f} MB", flush=True)
        print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        for precision in options.precision or ("fp32", "int4"):
            seconds, busy, peak, size = measured(model, precision, place / precision)
            print(
                f"{precision}: {seconds:.0f} s, of the processor {busy:.0f} s, peak {peak:,.0f} MB "
                f"({peak / bound:.2f} of the bound), bundle {size:.1f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
