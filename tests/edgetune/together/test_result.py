"""Many tasks in one go leave what each leaves on its own; interrupted they end the same; what fails is named."""

import json
import math
import os
import signal
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from edgetune.adapter import DESCRIPTION, TENSORS
from edgetune.config import TrainConfig
from edgetune.errors import ConfigError, DataError, OutputExistsError, Terminated, UnsupportedModelError
from edgetune.together import learning
from edgetune.together.result import allow_open_files, train_together_into
from edgetune.together.tasks import Task
from edgetune.training.result import train_into
from edgetune.training.unfinished import folder_of, steps_kept

from ..commands.test_tasks import filling
from ..tiny import base_of

PLAIN = dict(batch_size=4, virtual_tokens=3, eval_every=5, save_every=5, learning_rate=0.02)


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(path)


def classes(count, labels, shift=0):
    return [
        {"text": f"w{14 + i % labels} w{(i + shift) % 10} " + "w30 " * (i % 5), "label": f"w{40 + i % labels}"}
        for i in range(count)
    ]


def numbers(count, shift=0):
    return [{"text": f"w{i % 9} w{(i + shift) % 7}", "score": i % 9 + 0.5} for i in range(count)]


def tags(count, shift=0):
    return [
        {"tokens": [f"w{i % 4}", f"w{(i + shift) % 9}", "w50"], "tags": ["B-x" if i % 4 else "O", "O", "I-x"]}
        for i in range(count)
    ]


def completions(count, shift=0):
    return [{"prompt": f"w{(i + shift) % 20}", "completion": f"w{i % 20 + 1} w{30 + i % 3}"} for i in range(count)]


@pytest.fixture
def tasks(tmp_path):
    """`tasks("bert", a=(rows, held_out, options))`"""

    def made(family, **asked):
        found = []
        for name, (rows, held_out, options) in asked.items():
            data = written(tmp_path / f"{name}.jsonl", rows)
            dev = written(tmp_path / f"{name}-dev.jsonl", held_out) if held_out else None
            config = TrainConfig(model=f"tiny-{family}", data=data, eval_data=dev, **{**PLAIN, **options})
            found.append(Task(name, config))
        return found

    return made


@pytest.fixture
def encoders(tasks):
    """Of several kinds, label sets, lengths, rates, seeds and numbers of steps."""
    return tasks(
        "bert",
        three=(classes(30, 3), classes(9, 3, 4), dict(method="prefix", steps=12)),
        two=(classes(17, 2), classes(8, 2, 4), dict(method="prompt", steps=7, learning_rate=0.1, seed=5, head="mlp")),
        deep=(classes(11, 4), None, dict(method="prompt+prefix", steps=9, virtual_tokens=2, accumulate=2)),
        number=(numbers(20), numbers(9, 3), dict(task="regress", steps=10, virtual_tokens=5, warmup=0.5)),
        tagged=(tags(14), tags(7, 2), dict(task="tag", steps=8, reparameterise="mlp", reparameterise_size=4)),
    )


@pytest.fixture
def decoders(tasks):
    return tasks(
        "llama",
        write=(completions(20), completions(9, 5), dict(task="generate", steps=9, learning_rate=0.05)),
        after=(completions(13), None, dict(task="generate", method="prompt", steps=6, prompt_position="both", seed=2)),
        words=(classes(18, 3), classes(8, 3, 1), dict(head="words", method="prompt", steps=11, virtual_tokens=5)),
    )


def assert_same(one, other, apart=2e-5):
    """Two results, up to rounding: adapters, descriptions, configurations, and all that the logs tell but times."""
    assert sorted(x.name for x in one.iterdir()) == sorted(x.name for x in other.iterdir())
    mine, theirs = load_file(one / TENSORS), load_file(other / TENSORS)
    assert mine.keys() == theirs.keys()
    for name, x in theirs.items():
        torch.testing.assert_close(mine[name], x, rtol=1e-4, atol=apart, msg=f"{one.name} {name}")
    assert (one / DESCRIPTION).read_text() == (other / DESCRIPTION).read_text()
    assert (one / "run.toml").read_text() == (other / "run.toml").read_text()
    assert figures(one) == pytest.approx(figures(other), rel=max(1e-3, 10 * apart), abs=apart, nan_ok=True)


def figures(folder):
    """Numbers of a log's lines, one behind the other."""

    def flat(entry):
        for name, x in sorted(entry.items()):
            if isinstance(x, dict):
                yield from flat(x)
            elif name not in ("samples_per_second", "seconds"):
                yield math.nan if x is None else x

    return [x for line in (folder / "log.jsonl").read_text("utf-8").splitlines() for x in flat(json.loads(line))]


@pytest.mark.parametrize("family, chosen", [("bert", "encoders"), ("llama", "decoders")])
def test_each_task_ends_as_its_own_run_does(base, tmp_path, request, family, chosen):
    asked = request.getfixturevalue(chosen)
    seen = []
    results = train_together_into(
        tmp_path / "all", asked, lambda name, p: seen.append((name, p.step, p.metrics)), base=base(family)
    )
    assert [result.task for result in results] == asked
    for task, result in zip(asked, results):
        alone = []
        adapter, outcome = train_into(
            tmp_path / "one" / task.name, task.config, lambda p, to=alone: to.append((p.step, p.metrics is None)),
            base=base(family),
        )  # fmt: skip
        assert_same(tmp_path / "all" / task.name, tmp_path / "one" / task.name)
        assert [(step, metrics is None) for name, step, metrics in seen if name == task.name] == alone
        assert result.outcome.step == outcome.step and result.adapter.labels == adapter.labels
    assert sorted(os.listdir(tmp_path / "all")) == sorted(task.name for task in asked)


@pytest.mark.parametrize("shared, apart", [
    (dict(precision="bf16"), 2e-3),
    (dict(base_precision="int8", base_block_size=16), 2e-5),
])  # fmt: skip
def test_the_base_computes_as_in_a_run_of_its_own(base, tmp_path, tasks, shared, apart):
    asked = tasks(
        "bert",
        one=(classes(12, 2), classes(6, 2, 3), dict(steps=5, **shared)),
        two=(classes(12, 3), None, dict(steps=4, method="prompt", **shared)),
    )
    plain = tasks("bert", plain=(classes(12, 2), classes(6, 2, 3), dict(steps=5)))
    train_together_into(tmp_path / "all", asked, base=base("bert"))
    for task in asked:
        train_into(tmp_path / task.name, task.config, base=base("bert"))
        assert_same(tmp_path / "all" / task.name, tmp_path / task.name, apart)
    train_into(tmp_path / "plain", plain[0].config, base=base("bert"))
    others = load_file(tmp_path / "plain" / TENSORS)
    assert any((x - others[name]).abs().max() > 1e-4 for name, x in load_file(tmp_path / "one" / TENSORS).items())


def test_label_words_of_a_masked_language_model_are_mixed(tmp_path, tasks):
    rows = [{**row, "label": f"w{40 + i % 2}"} for i, row in enumerate(classes(16, 2))]
    asked = tasks(
        "bert",
        one=(rows, rows[:6], dict(head="words", steps=5)),
        two=(rows[::-1], None, dict(head="words", steps=6, method="prompt", template="{mask} is {text}")),
    )
    base = filling("bert")
    train_together_into(tmp_path / "all", asked, base=base)
    for task in asked:
        train_into(tmp_path / task.name, task.config, base=base)
        assert_same(tmp_path / "all" / task.name, tmp_path / task.name)


def test_streams_and_untrained_tasks_are_mixed_with_the_others(base, tmp_path, tasks):
    asked = tasks(
        "bert",
        streamed=(classes(40, 2), classes(6, 2, 3), dict(steps=8, shuffle_buffer=10)),
        untrained=(classes(8, 3), classes(6, 3, 2), dict(steps=0)),
        plain=(classes(12, 3), None, dict(steps=6)),
    )
    seen = []

    def stop(name, progress):
        seen.append(name)
        if (name, progress.step) == ("streamed", 6):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_together_into(tmp_path / "all", asked, stop, base=base("bert"))
    assert sorted(os.listdir(tmp_path / "all")) == ["plain.run", "streamed.run", "untrained"]
    results = train_together_into(tmp_path / "all", asked, resume=True, base=base("bert"))
    assert [result.rows for result in results] == [None, None, 12]
    for task in asked:
        train_into(tmp_path / task.name, task.config, base=base("bert"))
        assert_same(tmp_path / "all" / task.name, tmp_path / task.name)


def test_a_process_may_have_a_file_open_for_every_task():
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
    try:
        allow_open_files(300)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (min(300, hard), hard)
        allow_open_files(100)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (min(300, hard), hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_patience_ends_one_task_and_not_the_others(base, tmp_path, tasks):
    asked = tasks(
        "bert",
        stops=(classes(12, 2), classes(6, 2), dict(steps=40, eval_every=2, patience=2, learning_rate=0.0)),
        goes=(classes(12, 3), classes(6, 3), dict(steps=12)),
    )
    stops, goes = train_together_into(tmp_path / "all", asked, base=base("bert"))
    assert stops.outcome.stopped_at == 6 and stops.outcome.step == 2
    assert goes.outcome.stopped_at is None
    train_into(tmp_path / "stops", asked[0].config, base=base("bert"))
    assert_same(tmp_path / "all" / "stops", tmp_path / "stops")


def test_all_tasks_go_through_the_base_at_once(base, tmp_path, encoders, monkeypatch):
    """As many passes a step as the rows of all tasks need at 512 tokens a pass, and not one a task."""
    passes = []
    monkeypatch.setattr(learning, "found_in", lambda part, *rest: passes.append(part) or original(part, *rest))
    from edgetune.together.passes import found_in as original

    train_together_into(tmp_path / "all", encoders, base=base("bert"))
    assert len(passes[0].shares) == len(encoders)
    assert len(passes) <= 12 + 5  # steps of the longest task, and evaluations after steps 5, 7, 8, 10 and 12


def killed(work):
    """Whether a process of its own that runs `work` was killed."""
    pid = os.fork()
    if not pid:
        try:
            work()
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


@pytest.mark.skipif(sys.platform == "win32", reason="forks and kills")
@pytest.mark.parametrize("name, step", [("three", 1), ("three", 6), ("two", 7), ("number", 8), ("three", 11)])
def test_tasks_that_were_killed_end_with_the_same_bytes(tmp_path, encoders, name, step):
    base = base_of("bert")
    train_together_into(tmp_path / "whole", encoders, base=base)

    def report(who, progress):
        if (who, progress.step) == (name, step) and progress.metrics is None:
            os.kill(os.getpid(), signal.SIGKILL)

    out = tmp_path / "out"
    assert killed(lambda: train_together_into(out, encoders, report, base=base))
    for folder in out.iterdir():
        assert folder.name.endswith(".run") or (folder / TENSORS).exists()
    again = train_together_into(out, encoders, resume=True, base=base)
    assert sorted(os.listdir(out)) == sorted(task.name for task in encoders)
    for task, result in zip(encoders, again):
        assert (out / task.name / TENSORS).read_bytes() == (tmp_path / "whole" / task.name / TENSORS).read_bytes()
        assert result.task == task


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_sigterm_keeps_the_last_step_of_every_task(base, tmp_path, encoders):
    train_together_into(tmp_path / "whole", encoders, base=base("bert"))

    def report(name, progress):
        if (name, progress.step) == ("three", 4):
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Terminated, match="stopped with 5 of 5 tasks under way; continue with --resume"):
        train_together_into(tmp_path / "out", encoders, report, base=base("bert"))
    assert {steps_kept(tmp_path / "out" / task.name) for task in encoders} == {4}
    train_together_into(tmp_path / "out", encoders, resume=True, base=base("bert"))
    for task in encoders:
        name = Path(task.name, TENSORS)
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_second_run_needs_force_and_replaces_all(base, tmp_path, encoders):
    out = tmp_path / "out"
    train_together_into(out, encoders[:2], base=base("bert"))
    before = {task.name: (out / task.name / TENSORS).read_bytes() for task in encoders[:2]}
    with pytest.raises(OutputExistsError, match=r"task 'three': .*--force"):
        train_together_into(out, encoders[:2], base=base("bert"))
    train_together_into(out, encoders[:2], force=True, base=base("bert"))
    assert {task.name: (out / task.name / TENSORS).read_bytes() for task in encoders[:2]} == before


def test_resuming_begins_what_is_new_and_leaves_what_is_done(base, tmp_path, encoders):
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match="nothing to resume"):
        train_together_into(out, encoders[:2], resume=True, base=base("bert"))
    assert not out.exists()
    train_together_into(out, encoders[:2], base=base("bert"))
    made = (out / "three" / TENSORS).stat().st_mtime_ns
    results = train_together_into(out, encoders[:3], resume=True, base=base("bert"))
    assert [result.task.name for result in results] == ["three", "two", "deep"]
    assert (out / "three" / TENSORS).stat().st_mtime_ns == made
    assert results[1].outcome == train_together_into(out, encoders[:3], resume=True, base=base("bert"))[1].outcome


@pytest.mark.parametrize("spoil, kind, told", [
    (lambda path: path.write_text(""), DataError, r"task 'two': .*two\.jsonl: the file is empty"),
    (lambda path: path.unlink(), DataError, r"task 'two': .*two\.jsonl"),
    (lambda path: path.write_text('{"text": "w1", "label": "a"}\n{"text": "w1"}\n'), DataError,
     r"task 'two': .*two\.jsonl:2: no \"label\""),
])  # fmt: skip
def test_one_bad_file_among_many_is_told_before_anything_is_trained(base, tmp_path, encoders, spoil, kind, told):
    spoil(Path(encoders[1].config.data))
    steps = []
    with pytest.raises(kind, match=told):
        train_together_into(tmp_path / "out", encoders, lambda *x: steps.append(x), base=base("bert"))
    assert not steps and not (tmp_path / "out").exists()


@pytest.mark.parametrize("family, options, told", [
    ("bert", dict(task="generate"), "task 'odd': .*is an encoder; --task generate needs a decoder"),
    ("bert", dict(head="words"), "task 'odd': label words and other heads need different forms"),
    ("llama", dict(), "task 'odd': .*add --head words"),
])  # fmt: skip
def test_what_the_base_is_not_for_is_told_with_the_task(base, tmp_path, tasks, family, options, told):
    rows = completions(8) if options.get("task") == "generate" else classes(8, 2)
    plain = (classes(8, 2), None, {}) if family == "bert" else (completions(8), None, dict(task="generate"))
    asked = tasks(family, plain=plain, odd=(rows, None, options))
    with pytest.raises(UnsupportedModelError, match=told):
        train_together_into(tmp_path / "out", asked, base=base(family))
    assert not (tmp_path / "out").exists()


def test_a_task_that_diverges_leaves_the_others_as_they_are(base, tmp_path, tasks):
    plain = dict(task="regress", steps=6)
    asked = tasks("bert", good=(numbers(12), None, plain), bad=(numbers(12), None, {**plain, "learning_rate": 1e30}))
    with pytest.raises(ConfigError, match=r"task 'bad': the loss is (nan|inf) at step .*the other tasks are done"):
        train_together_into(tmp_path / "out", asked, base=base("bert"))
    assert os.listdir(tmp_path / "out") == ["good"]
    train_into(tmp_path / "good", asked[0].config, base=base("bert"))
    assert_same(tmp_path / "out" / "good", tmp_path / "good")


def test_a_state_of_other_rows_is_refused_and_nothing_is_lost(base, tmp_path, encoders):
    out = tmp_path / "out"

    def stop(name, progress):
        if progress.step == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_together_into(out, encoders, stop, base=base("bert"))
    left = sorted(os.listdir(out))
    written(Path(encoders[1].config.data), classes(9, 2))
    with pytest.raises(ConfigError, match="the training rows"):
        train_together_into(out, encoders, resume=True, base=base("bert"))
    assert sorted(os.listdir(out)) == left and all((out / name / "state.safetensors").exists() for name in left)
    with pytest.raises(OutputExistsError, match=r"task 'three': .*continue with --resume"):
        train_together_into(out, encoders, base=base("bert"))
    assert folder_of(out / "three").exists()
