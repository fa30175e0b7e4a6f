"""Ray's engine: the same best configuration as the embedded one, and the same rungs."""

import json
import socket

import pytest

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'edgetune[ray]'")

from edgetune.sweep.cluster import scheduler_of, tune_module  # noqa: E402
from edgetune.sweep.plan import EarlyStopping  # noqa: E402

GRID = ["--methods", "prompt,prefix", "--lengths", "2", "--learning-rates", "0.01,0.1", "--no-early-stopping"]


def test_two_workers_of_ray_find_what_the_embedded_engine_finds(cli, arguments, tmp_path):
    """To the bit: every metric of every run, the best configuration, and its adapter."""
    found = {}
    for name, engine in {"optuna": [], "ray": ["--ray", "--workers", 2]}.items():
        out = tmp_path / name
        done = cli(*arguments(*GRID, "--threads", 1), *engine, "--out", out)
        assert done.code == 0, done.err
        assert done.out.startswith("bert, 4 configurations: 4 complete"), "Ray prints nothing of its own"
        figures = json.loads((out / "sweep.json").read_text("utf-8"))
        runs = {x["name"]: [(r["seed"], r["metrics"], r["evaluations"]) for r in x["runs"]] for x in figures["trials"]}
        found[name] = figures["best"], runs, (out / "best/adapter.safetensors").read_bytes()
    assert found["optuna"] == found["ray"] and len(found["ray"][1]) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["optuna", "ray"]
    assert not ray.is_initialized()


def test_where_no_cluster_answers_that_is_told_at_once_and_nothing_is_left(cli, arguments, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    found = cli(*arguments(*GRID), "--ray", f"127.0.0.1:{port}", "--out", tmp_path / "out")
    assert found.code == 1 and f"no Ray answers at 127.0.0.1:{port}" in found.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("grace", "factor", "steps"), [(2, 4, 6), (2, 4, 100), (1, 10, 1001), (1, 5, 126), (5, 3, 46)])
def test_rays_rungs_are_the_plans(plan, grace, factor, steps):
    planned = plan({"method": "prompt"}, steps=steps, grace_period=grace, reduction_factor=factor)
    scheduler = scheduler_of(tune_module(), planned)
    rungs = [step for step, _ in scheduler._brackets[0]._rungs]
    assert rungs[::-1] == EarlyStopping(grace, factor).rungs(steps)
