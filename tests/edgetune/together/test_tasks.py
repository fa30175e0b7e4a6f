"""The file of tasks: what wins over what, where paths begin, and what is refused, by name."""

import pytest

from edgetune.errors import ConfigError
from edgetune.together.tasks import read_tasks

SHARED = 'model = "hub/id"\ntask = "classify"\nsteps = 7\n[columns]\ntext = "query"\n'


@pytest.fixture
def file(tmp_path):
    def made(text):
        (tmp_path / "deep").mkdir(exist_ok=True)
        (tmp_path / "deep" / "tasks.toml").write_text(text, "utf-8")
        return tmp_path / "deep" / "tasks.toml"

    return made


def test_own_options_win_over_shared_ones_and_the_command_line_over_both(file):
    path = file(SHARED + '[tasks.a]\ndata = "a.jsonl"\n[tasks.b]\ndata = "b.jsonl"\nsteps = 9\nseed = 3\n'
                'task = "text-classification"\n[tasks.b.columns]\ntext = "body"\n')  # fmt: skip
    a, b = read_tasks(path)
    assert (a.name, a.config.steps, a.config.seed, a.config.columns) == ("a", 7, 0, {"text": "query"})
    assert (b.name, b.config.steps, b.config.seed, b.config.columns) == ("b", 9, 3, {"text": "body"})
    assert b.config.task == "classify"
    assert [task.config.steps for task in read_tasks(path, {"steps": 2})] == [2, 2]


def test_paths_begin_at_the_file_and_a_model_does_where_it_is_there(file, tmp_path):
    text = SHARED.replace("hub/id", "base") + '[tasks.a]\ndata = "a.jsonl"\neval_data = "/dev.jsonl"\n'
    path = file(text)
    (task,) = read_tasks(path)
    assert task.config.data == str(tmp_path / "deep" / "a.jsonl") and task.config.eval_data == "/dev.jsonl"
    assert task.config.model == "base"
    (tmp_path / "deep" / "base").mkdir()
    assert read_tasks(path)[0].config.model == str(tmp_path / "deep" / "base")


def test_curves_of_tasks_lie_apart(file, tmp_path):
    (task,) = read_tasks(file('tensorboard = "curves"\n' + SHARED + '[tasks.a]\ndata = "a"\n'))
    assert task.config.tensorboard == str(tmp_path / "deep" / "curves" / "a")


@pytest.mark.parametrize("text, told", [
    ("", "names no tasks; write a table for each"),
    (SHARED, "names no tasks"),
    ("tasks = 3", "names no tasks"),
    ("[tasks]", "names no tasks"),
    ("[tasks.a", "is not TOML"),
    ("step = 3\n[tasks.a]\ndata = 'a'", "tasks.toml: unknown option 'step'"),
    (SHARED + "[tasks.a]\ndata = 'a'\nlabel = 'x'", "task 'a': unknown option 'label'"),
    (SHARED + "[tasks]\na = 'a.jsonl'", "task 'a': it is 'a.jsonl'; write a table"),
    (SHARED + "[tasks.a]\nsteps = 3", "task 'a': no data; set it there"),
    ("task = 'classify'\n[tasks.a]\ndata = 'a'", "task 'a': no model; set it there, or for all tasks"),
    ("model = 'm'\n[tasks.a]\ndata = 'a'", "task 'a': no task; set it there, or for all tasks"),
    (SHARED + "[tasks.a]\ndata = 'a'\nsteps = 'many'", "task 'a': steps is 'many'; give a number"),
    (SHARED + "[tasks.a]\ndata = 'a'\ntask = 'dance'", "task 'a': unknown task 'dance'"),
    (SHARED + "[tasks.'../a']\ndata = 'a'", "task '../a': a name is of letters"),
    (SHARED + "[tasks.'a.run']\ndata = 'a'", "does not end in .run"),
    (SHARED + "[tasks.a]\ndata = 'a'\n[tasks.A]\ndata = 'b'", "'a' and 'A' are one folder on some disks"),
    (SHARED + "[tasks.a]\ndata = 'a'\n[tasks.b]\ndata = 'b'\nmodel = 'n'",
     "model is 'hub/id' for task 'a' and 'n' for 'b'"),
    (SHARED + "[tasks.a]\ndata = 'a'\n[tasks.b]\ndata = 'b'\nbase_precision = 'int4'", "share one base"),
])  # fmt: skip
def test_what_cannot_be_done_is_told_with_the_file_and_the_task(file, text, told):
    with pytest.raises(ConfigError) as error:
        read_tasks(file(text))
    assert told in str(error.value) and "tasks.toml" in str(error.value)


def test_rows_are_no_matter_of_the_command_line(file):
    with pytest.raises(ConfigError, match="--eval-data does not go with --tasks: each task has its own"):
        read_tasks(file(SHARED + "[tasks.a]\ndata = 'a'"), {"eval_data": "x"})


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        read_tasks(tmp_path / "nowhere.toml")
