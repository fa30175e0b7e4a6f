"""A base divided among processes learns what a whole one does, and real launchers start, stop and continue runs."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from safetensors.torch import load_file
from torch.distributed.tensor import DTensor

from edgetune.adapter import DESCRIPTION
from edgetune.training import run
from edgetune.training.unfinished import steps_kept

from .launching import Launch, free_port
from .test_processes import config, same, whole  # noqa: F401 (fixtures)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks and kills")
pytest.importorskip("accelerate")

FSDP = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_RESHARD_AFTER_FORWARD": "true"}


def weighing(folder):
    """To be called in a process: it leaves behind how many weights it holds of layers, and of all else."""

    def first():
        trained = run.fit

        def weighed(tuned, *arguments, **options):
            weights = list(tuned.base.model.parameters())
            layers = [x.to_local().numel() for x in weights if isinstance(x, DTensor)]
            rest = [x.numel() for x in weights if not isinstance(x, DTensor)]
            held = {"layers": sum(layers), "rest": sum(rest), "all": sum(x.numel() for x in weights)}
            (folder / f"held-{os.environ['RANK']}").write_text(json.dumps(held))
            return trained(tuned, *arguments, **options)

        run.fit = weighed

    return first


@pytest.mark.parametrize("task, options", [
    ("classify", dict(method="prefix")),
    ("generate", dict(method="prompt+prefix", base_precision="int8", base_block_size=32)),
])  # fmt: skip
def test_a_divided_base_learns_what_a_whole_one_does(config, whole, tmp_path, task, options):  # noqa: F811
    """Among three processes, of which the last steps of an epoch leave some without rows in a batch."""
    given, out = config(task, **options), tmp_path / "out"
    launch = Launch(
        tmp_path / "said", 3, "train", "--config", given, "--out", out, first=weighing(tmp_path), **FSDP
    )  # fmt: skip
    assert launch.ended(within=200).codes == [0, 0, 0], launch.told()
    expected = whole(given)
    same(expected, out)
    read = [json.loads((folder / DESCRIPTION).read_text())["base_fingerprint"] for folder in (expected, out)]
    assert read[0] == read[1]
    held = [json.loads((tmp_path / f"held-{rank}").read_text()) for rank in range(3)]
    assert sum(x["layers"] for x in held) + held[0]["rest"] == held[0]["all"]
    assert max(x["layers"] for x in held) < 0.4 * sum(x["layers"] for x in held)


def test_evaluation_on_a_divided_base_is_that_on_a_whole_one(config, whole, rows, cli, tmp_path):  # noqa: F811
    arguments = ["evaluate", "--adapter", whole(config("classify", steps=2)), "--data", rows("classify"), "--json"]
    expected = json.loads(cli(*arguments).out)
    launch = Launch(tmp_path / "said", 2, *arguments, **FSDP)
    assert launch.ended().codes == [0, 0], launch.told()
    assert json.loads(launch.told()[-1]) == pytest.approx(expected, abs=1e-6)


def test_bf16_on_processors_needs_a_whole_base(config, tmp_path):  # noqa: F811
    given = config("classify", precision="bf16")
    launch = Launch(tmp_path / "said", 2, "train", "--config", given, "--out", tmp_path / "out", **FSDP)
    assert launch.ended().codes == [1, 1]
    assert "leave FSDP out" in "".join(launch.told())


def started(launcher, *arguments, folder):
    environment = {**os.environ, "HF_HOME": str(folder), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", *launcher, "-m", "edgetune", *(str(x) for x in arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def test_real_launchers_start_a_divided_run_stop_it_and_go_on_with_a_whole_one(config, whole, tmp_path):  # noqa: F811
    """`accelerate launch --use_fsdp`, SIGTERM to it as a scheduler sends it, and `torchrun` that continues."""
    given, out = config("generate", steps=60, eval_every=30, learning_rate=1e-3), tmp_path / "out"
    accelerate = ["accelerate.commands.launch", "--use_fsdp", "--fsdp_version", "2", "--num_processes", "2"]
    accelerate += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    accelerate += ["--main_process_port", str(free_port())]
    running = started(accelerate, "train", "--config", given, "--out", out, folder=tmp_path)
    while (steps_kept(out) or 0) < 2:
        assert running.poll() is None, running.communicate()[0]
        time.sleep(0.05)
    running.send_signal(signal.SIGTERM)
    said, _ = running.communicate(timeout=120)
    kept = steps_kept(out)
    assert running.returncode != 0
    assert said.count(f"edgetune: stopped after step {kept} of 60; continue with --resume") == 1, said
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    more = ["--resume", "--save-every", 100]
    running = started(torchrun, "train", "--config", given, "--out", out, *more, folder=tmp_path)
    said, _ = running.communicate(timeout=300)
    assert running.returncode == 0, said
    assert f"continued after step {kept}" in said
    same(whole(given), out)
    assert load_file(out / "adapter.safetensors")
