"""A sweep that is killed at whatever moment and continued ends as one that never was."""

import os
import signal
import sys
import traceback
from contextlib import contextmanager

import pytest

from edgetune.errors import ConfigError, OutputExistsError
from edgetune.sweep import running, workplace
from edgetune.sweep.budget import Budget
from edgetune.sweep.records import read_records
from edgetune.sweep.running import Leaving, sweep_into
from edgetune.sweep.session import Session
from edgetune.sweep.study import Study
from edgetune.training.unfinished import folder_of

pytest.importorskip("optuna", reason="Optuna is not installed: pip install 'edgetune[sweep]'")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks and kills")

LISTS = {"method": "prefix", "learning_rate": "0.02,0.00001,0.1"}
"""The second learns nothing and is stopped after step 4; the third learns faster than the first."""


class Watched:
    """Counts steps, and can end the process at one of them."""

    def __init__(self, last=None):
        self.steps, self.ends, self.last = [], [], last

    @contextmanager
    def around(self, trial, seed):
        def tell(progress):
            if progress.metrics is None:
                self.steps.append((trial.number, seed, progress.step))
            if len(self.steps) == self.last:
                os.kill(os.getpid(), signal.SIGKILL)

        yield tell

    def ended(self, trial, record, measure):
        self.ends.append((trial.number, record.end))


@pytest.fixture
def sweep(plan):
    """`sweep(out, watch, resume=True)`: two seeds, the second configuration stopped early."""
    leaving = Leaving(lambda name, adapter, base: b"1234", lambda found: {"sweep.json": repr(facts(found))})

    def run(out, watch=None, **options):
        watch = watch or Watched()
        planned = plan(LISTS, seeds=2, metric="loss", reduction_factor=2, grace_period=4, save_every=1)
        return sweep_into(out, planned, leaving, watch, **options), watch

    return run


def facts(found):
    """All but times."""
    return [
        (x.name, x.end, x.step, x.value, [(run.seed, run.metrics, run.kept_step, run.evaluations) for run in x.runs])
        for x in found.trials
    ]


def killed(work):
    """Runs it in a process of its own, which has to end by SIGKILL."""
    pid = os.fork()
    if not pid:
        try:
            work()
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


@pytest.fixture
def whole(sweep, tmp_path):
    found, watch = sweep(tmp_path / "whole")
    assert [x.end for x in found.trials] == ["complete", "pruned", "complete"]
    return facts(found), (tmp_path / "whole/best/adapter.safetensors").read_bytes(), watch


def is_whole(out, found, whole):
    assert facts(found) == whole[0]
    assert (out / "best/adapter.safetensors").read_bytes() == whole[1] and not folder_of(out).exists()


@pytest.mark.parametrize("step", [1, 9, 14, 16, 20])
def test_killed_in_a_run_it_goes_on_in_the_middle_of_it(sweep, whole, tmp_path, step):
    """In the first seed, the second seed, twice in the configuration that is stopped early, and in the last."""
    out = tmp_path / "out"
    killed(lambda: sweep(out, Watched(last=step)))
    assert not out.exists()
    found, watch = sweep(out, resume=True)
    is_whole(out, found, whole)
    assert watch.steps == whole[2].steps[step - 1 :], "no step before the last state again"


@pytest.mark.parametrize(("owner", "name"), [(Study, "tell"), (Study, "ask"), (running, "sweep_of")])
def test_killed_between_trials_it_runs_none_of_them_again(sweep, whole, tmp_path, monkeypatch, owner, name):
    """After a trial was written down and before Optuna knew; before the third began; when all had ended."""
    out, calls, original = tmp_path / "out", [], getattr(owner, name)

    def killing(*args):
        calls.append(args)
        if len(calls) == {"tell": 1, "ask": 3, "sweep_of": 1}[name]:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args)

    monkeypatch.setattr(owner, name, killing)
    killed(lambda: sweep(out))
    monkeypatch.undo()
    ended = set(read_records(folder_of(out)))
    assert ended == {"tell": {0}, "ask": {0, 1}, "sweep_of": {0, 1, 2}}[name]
    found, watch = sweep(out, resume=True)
    is_whole(out, found, whole)
    assert not ended & {number for number, *_ in watch.steps}


def test_killed_after_the_result_had_appeared_nothing_is_left_to_do(sweep, whole, tmp_path, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.setattr(workplace.Workplace, "remove", lambda self: os.kill(os.getpid(), signal.SIGKILL))
    killed(lambda: sweep(out))
    monkeypatch.undo()
    found, watch = sweep(out, resume=True)
    assert found is None and not watch.steps and not folder_of(out).exists()
    assert (out / "best/adapter.safetensors").read_bytes() == whole[1]


def test_a_second_run_says_what_to_do(sweep, tmp_path):
    out = tmp_path / "out"
    killed(lambda: sweep(out, Watched(last=3)))
    with pytest.raises(OutputExistsError, match="continue with --resume, or start over with --force"):
        sweep(out)
    _, watch = sweep(out, force=True)
    assert watch.steps[0] == (0, 0, 1)


def test_other_options_are_refused_and_another_budget_is_not(plan, tmp_path):
    out, leaving = tmp_path / "out", Leaving(lambda *_: b"", lambda found: {"sweep.json": ""})

    def run(watch, minutes, **options):
        planned = plan(LISTS, search="grid", budget=Budget(minutes=minutes), **options)
        return sweep_into(out, planned, leaving, watch, resume=folder_of(out).exists())

    killed(lambda: run(Watched(last=3), 1))
    with pytest.raises(ConfigError, match=r"begun with other values of seeds \(\[0\], now \[0, 1\]\)"):
        run(Watched(), 1, seeds=2)
    assert run(Watched(), 9) is not None


def test_a_sweep_that_was_stopped_says_how_to_go_on(cli, arguments, tmp_path, monkeypatch):
    original = Session.next

    def interrupted(self):
        if self.records:
            raise KeyboardInterrupt
        return original(self)

    monkeypatch.setattr(Session, "next", interrupted)
    given = [*arguments("--methods", "prompt", "--lengths", "2,3"), "--out", tmp_path / "out"]
    found = cli(*given)
    assert found.code == 130 and "1 trial ended and are kept; continue with --resume" in found.err
    monkeypatch.undo()
    assert cli(*given, "--resume").code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
