"""The shared base in other people's runtimes writes the greedy text of transformers' own `generate`.

Each runs in an interpreter of its own, which a variable names; where it is absent the test skips
(docs/other-runtimes.md).
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from edgetune_export.bundle import export_bundle
from references.eager import eager_logits

from edgetune.models.rounding import Weights

from .conftest import made_base, random_adapter, rows_of

SCRIPTS = Path(__file__).with_name("runtimes")
COUNT = 24


def python_with(package, variable):
    """The interpreter that has a package, this one or the variable's; skips where neither does."""
    for python in filter(None, (os.environ.get(variable), sys.executable)):
        if subprocess.run([python, "-c", f"import {package}"], capture_output=True).returncode == 0:
            return python
    pytest.skip(f"{package} is not installed; {variable} names an interpreter that has it")


def genai(folder, ids):
    return answer([python_with("onnxruntime_genai", "EDGETUNE_GENAI_PYTHON"), SCRIPTS / "genai.py"], folder, ids)


def optimum(folder, ids):
    python = python_with("optimum.onnxruntime", "EDGETUNE_OPTIMUM_PYTHON")
    return answer([python, SCRIPTS / "optimum_greedy.py"], folder, ids)


def transformers_js(folder, ids):
    place = os.environ.get("EDGETUNE_NODE_FOLDER", ".")
    if not shutil.which("node") or not (Path(place) / "node_modules/@huggingface/transformers").exists():
        pytest.skip("transformers.js is not installed; EDGETUNE_NODE_FOLDER names a folder with it in node_modules")
    return answer(["node", SCRIPTS / "transformers_js.mjs"], folder, ids, cwd=place)


RUNTIMES = {"genai": genai, "optimum": optimum, "transformers_js": transformers_js}


def answer(command, folder, ids, cwd=None):
    """The token ids that a script wrote."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [*map(str, command), str(folder), json.dumps(ids), str(COUNT)],
        capture_output=True, text=True, cwd=cwd, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def greedy(base, ids):
    """transformers' own; the end token, which would stop some earlier, never wins."""
    out = base.model.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), do_sample=False,
                              max_new_tokens=COUNT)  # fmt: skip
    return out[0, len(ids) :].tolist()


@pytest.fixture(scope="module", params=["Llama", "GPT2"])
def shared(request, tmp_path_factory):
    """A base, and the folder of its bundle."""
    base = made_base(request.param)
    out = tmp_path_factory.mktemp("shared") / "bundle"
    export_bundle(base, {}, out)
    return base, out


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_shared_base_writes_the_same_greedy_text(runtime, shared):
    base, folder = shared
    (ids,) = rows_of([9])
    expected = greedy(base, ids)
    assert len(expected) > 8 and RUNTIMES[runtime](folder, ids) == expected


def test_description_names_the_graphs_inputs_and_the_base(shared):
    import onnxruntime

    base, folder = shared
    described = json.loads((folder / "genai_config.json").read_text("utf-8"))["model"]
    decoder = described["decoder"]
    names = [decoder["inputs"][x] for x in ("past_key_names", "past_value_names")]
    wanted = ["input_ids", "attention_mask", *(name % i for i in range(len(base.layers)) for name in names)]
    assert [x.name for x in onnxruntime.InferenceSession(folder / "model.onnx").get_inputs()] == wanted
    assert described["vocab_size"] == base.vocab_size and decoder["head_size"] == base.layers[0].head_size
    assert json.loads((folder / "config.json").read_text("utf-8"))["model_type"] == base.model_type


def test_tokenizer_is_read_by_transformers_as_it_was(shared):
    from transformers import AutoTokenizer

    base, folder = shared
    read, text = AutoTokenizer.from_pretrained(folder), "w5 w77 w9"
    assert list(read(text).input_ids) == list(base.tokenizer(text).input_ids)
    assert (read.bos_token_id, read.eos_token_id) == (base.tokenizer.bos_token_id, base.tokenizer.eos_token_id)


@pytest.fixture(scope="module")
def standalone(decoder, tmp_path_factory):
    """The folder of a bundle with a prefix folded in, a prompt, and the greedy ids that torch writes."""
    adapter, out = random_adapter(decoder, "prefix", 5), tmp_path_factory.mktemp("standalone") / "bundle"
    export_bundle(decoder, {"task": adapter}, out, standalone=True)
    (ids,) = rows_of([9])
    written = list(ids)
    for _ in range(COUNT):
        written.append(int(eager_logits(decoder, adapter, written)[-1].argmax()))
    return out, ids, written[len(ids) :]


@pytest.mark.parametrize("runtime", ["optimum", "transformers_js"])
def test_standalone_decoder_writes_the_tuned_text(runtime, standalone):
    folder, ids, expected = standalone
    assert RUNTIMES[runtime](folder, ids) == expected
    assert not (folder / "genai_config.json").exists()


def test_small_weights_write_the_same_text_as_the_runtime_that_ships(decoder, tmp_path):
    import edgetune_runtime

    export_bundle(decoder, {}, tmp_path / "b", weights=Weights("int4", block_size=32))
    (ids,) = rows_of([9])
    ours = edgetune_runtime.load(tmp_path / "b").generate(ids, max_new_tokens=COUNT)
    assert genai(tmp_path / "b", ids)[: len(ours.token_ids)] == ours.token_ids
