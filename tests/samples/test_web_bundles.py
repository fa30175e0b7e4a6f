"""One command makes what the page serves: a classifier with several tasks, a story teller with a voice of its own."""

import importlib
import json
from pathlib import Path

import edgetune_runtime
import pytest
from boundaries import tiny_models

SAMPLE = Path(__file__).parents[2] / "samples" / "web"
THEME = "a cat named Tom"


@pytest.fixture
def sample(monkeypatch):
    """A module of the sample by its name."""
    monkeypatch.syspath_prepend(str(SAMPLE))
    return importlib.import_module


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Two tiny bases and three task files in the formats that people have."""
    folder = tmp_path_factory.mktemp("given")
    topic = "text,label\nwhere is it,delivery\nmoney back,refund\nlost,delivery\nmoney,refund\n"
    (folder / "topic.csv").write_text(topic)
    (folder / "topic-dev.jsonl").write_text('{"text": "is it lost", "label": "delivery"}\n')
    rows = [{"text": "I am so happy", "label": "glad"}, {"text": "go away", "label": "cross"}]
    (folder / "mood.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tiny_models.save(tiny_models.encoder(), folder / "encoder")
    tiny_models.save(tiny_models.decoder(), folder / "decoder")
    return folder


@pytest.fixture(scope="module")
def arguments(given):
    """Few steps, few stories."""
    return [
        "--encoder", str(given / "encoder"), "--task", f"topic={given / 'topic.csv'},{given / 'topic-dev.jsonl'}",
        "--decoder", str(given / "decoder"), "--theme", THEME, "--steps", "2", "--voice-steps", "2", "--stories", "4",
        "--out", str(given / "bundles"),
    ]  # fmt: skip


@pytest.fixture
def made(sample, arguments, given):
    sample("make_bundles").main(arguments)
    return given / "bundles"


def times(folder: Path) -> dict[str, float]:
    return {str(path): path.stat().st_mtime for path in folder.rglob("*") if path.is_file()}


def test_both_bundles_load_and_answer(made):
    classifier = edgetune_runtime.load(made / "classifier")
    assert classifier.classify("where is it?").label in {"delivery", "refund"}
    writer = edgetune_runtime.load(made / "writer")
    assert writer.default_adapter is None or writer.default_adapter == "theme"
    assert writer.generate("One day", adapter="theme", max_new_tokens=5).text != ""


def test_the_page_is_told_titles_examples_and_beginnings(made):
    page = json.loads((made / "page.json").read_text("utf-8"))
    assert page["titles"] == {"topic": "Topic", "theme": "A cat named Tom"}
    assert page["examples"] == {"topic": ["is it lost"]}, "of the rows that were not trained on"
    assert "Once upon a time" in page["beginnings"]


def test_what_is_done_is_not_done_again(made, sample, arguments, capsys):
    before = times(made)
    sample("make_bundles").main(arguments)
    after = times(made)
    assert {path for path in after if after[path] != before[path]} == {str(made / "page.json")}
    assert "$ edgetune" not in capsys.readouterr().out


def test_one_more_task_is_added_to_the_base_that_is_there(made, sample, arguments, given):
    graph = made / "classifier" / "model.onnx"
    before = graph.stat().st_mtime
    sample("make_bundles").main([*arguments, "--task", f"mood={given / 'mood.jsonl'}"])
    model = edgetune_runtime.load(made / "classifier")
    assert list(model.adapters) == ["topic", "mood"] and model.default_adapter == "topic"
    assert graph.stat().st_mtime == before
    answers = model.classify(["go away", "go away"], adapter=["topic", "mood"])
    assert answers[1].label in {"glad", "cross"}


def test_rows_that_were_changed_are_learned_anew(made, sample, arguments, given):
    adapter = made / "classifier" / "adapters" / "topic.safetensors"
    before = adapter.read_bytes()
    with (given / "topic.csv").open("a") as file:
        file.write("thanks,praise\n")
    sample("make_bundles").main(arguments)
    assert adapter.read_bytes() != before
    assert "praise" in edgetune_runtime.load(made / "classifier").classify("thanks").scores


def test_a_run_that_was_interrupted_is_resumed_if_its_options_are_the_same(sample, monkeypatch, tmp_path):
    steps = sample("steps")
    asked = []

    def interrupted(arguments):
        asked.append(arguments[-1])
        (tmp_path / "task.run").mkdir(exist_ok=True)
        (tmp_path / "task.run" / "state.safetensors").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(steps, "command", interrupted)
    for count in (5, 5, 6):
        with pytest.raises(KeyboardInterrupt):
            steps.Steps(tmp_path / "done.json").train(tmp_path / "task", "m", "classify", [tmp_path / "rows"], count, 3)
    assert asked == ["--force", "--resume", "--force"]


def test_a_theme_is_named_after_the_beginning(made, sample):
    rows = sample("theme").themed_rows(made / "writer", THEME, 5)
    assert rows[0]["prompt"] == rows[3]["prompt"] == "Once upon a time"
    assert rows[0]["completion"].startswith(f", there was {THEME}. ")
    assert len({row["completion"] for row in rows}) == 5


def test_published_data_sets_are_rows_of_text_and_label(sample, tmp_path):
    published = sample("published")
    for name, text in (("train", 'a,x\n"b, c",y\n'), ("test", "d,x\n")):
        (tmp_path / f"{name}.csv").write_text(f"text,category\n{text}")
    assert published.banking77(tmp_path)[0][1] == {"text": "b, c", "label": "y"}
    cut = {"PlayMusic": [{"data": [{"text": "play "}, {"text": "Motörhead", "entity": "artist"}]}]}
    (tmp_path / "train_PlayMusic_full.json").write_text(json.dumps(cut, ensure_ascii=False), "latin-1")
    (tmp_path / "validate_PlayMusic.json").write_text(json.dumps(cut), "utf-8")
    row = {"text": "play Motörhead", "label": "PlayMusic"}
    assert published.snips(tmp_path) == ([row], [row])


def test_wrong_usage_is_told(sample, arguments):
    with pytest.raises(SystemExit, match="is no NAME=TRAIN"):
        sample("make_bundles").main([*arguments, "--task", "topic"])
