"""Training on a stream: rows that are held in memory give the same, and a run that was cut goes on to the same end."""

import json
import logging
from pathlib import Path

import pytest
import torch

from edgetune.adapter import TENSORS
from edgetune.config import TrainConfig
from edgetune.data.rows import read_rows
from edgetune.data.stream import RowStream
from edgetune.errors import ConfigError, DataError
from edgetune.training.examples import class_examples
from edgetune.training.loop import fit, learned_state
from edgetune.training.result import train_into
from edgetune.training.rows import rows_for, source_of
from edgetune.training.sets import read_sets
from edgetune.training.survey import survey_of

from .test_loop import tuned_of


@pytest.fixture
def config(folders, rows, tmp_path):
    def made(**options):
        lines = Path(rows("classify")).read_text("utf-8").splitlines(keepends=True)
        for number, part in enumerate((lines[:10], lines[10:])):
            (tmp_path / f"part-{number}.jsonl").write_text("".join(part), "utf-8")
        paths = dict(model=folders("bert"), data=str(tmp_path / "part-*.jsonl"))
        given = dict(steps=13, batch_size=3, virtual_tokens=3, eval_every=5, save_every=1, shuffle_buffer=5)
        return TrainConfig(**{**paths, "eval_data": rows("classify", "held_out"), **given, **options})

    return made


def test_a_step_learns_from_the_rows_that_were_drawn_and_from_each_once_an_epoch(base, config):
    asked = config(steps=8)
    rows, _, names = rows_for(asked)
    order, read = [], lambda part: class_examples(base("bert"), part.rows, part.targets, None)
    source = source_of(rows, read)
    drawn = source.steps(3, 0, 0, {})
    for _ in range(8):
        order += source.examples(next(drawn))
    assert names == ("no", "yes")
    every = read(read_sets(config(data=asked.eval_data.replace("held_out", "train"), shuffle_buffer=None))[0][0])
    assert sorted(map(repr, order)) == sorted(map(repr, every))
    # the same rows from memory, in this order: the very same numbers
    streamed, held = tuned_of(base("bert"), "prefix", 2), tuned_of(base("bert"), "prefix", 2)

    class InOrder:
        digest = ""

        def steps(self, count, seed, done, place):
            return iter([order[i : i + count] for i in range(0, len(order), count)])

        def examples(self, rows):
            return list(rows)

        def place(self):
            return {}

    fit(streamed, asked, source_of(rows, read))
    fit(held, asked, InOrder())
    assert all(torch.equal(a, b) for a, b in zip(learned_state(streamed), learned_state(held)))


@pytest.mark.parametrize("at", [1, 6, 11])
def test_a_run_that_was_stopped_goes_on_to_the_same_adapter(base, config, tmp_path, at):
    def stop(progress):
        if progress.step == at + 1 and progress.metrics is None:
            raise KeyboardInterrupt

    train_into(tmp_path / "whole", config(), base=base("bert"))
    with pytest.raises(KeyboardInterrupt):
        train_into(tmp_path / "cut", config(), stop, base=base("bert"))
    train_into(tmp_path / "cut", config(), resume=True, base=base("bert"))
    assert (tmp_path / "cut" / TENSORS).read_bytes() == (tmp_path / "whole" / TENSORS).read_bytes()


def test_other_files_or_another_buffer_are_refused_when_a_run_goes_on(base, config, tmp_path):
    def stop(progress):
        if progress.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_into(tmp_path / "cut", config(), stop, base=base("bert"))
    with pytest.raises(ConfigError, match="shuffle_buffer"):
        train_into(tmp_path / "cut", config(shuffle_buffer=6), resume=True, base=base("bert"))
    changed = config()
    (tmp_path / "part-0.jsonl").write_text(json.dumps({"text": "w1", "label": "no"}) + "\n", "utf-8")
    with pytest.raises(ConfigError, match="the training rows"):
        train_into(tmp_path / "cut", changed, resume=True, base=base("bert"))


def test_labels_that_are_given_are_not_looked_for(config, tmp_path, monkeypatch):
    asked = config(labels="yes,no,maybe")
    read = []
    monkeypatch.setattr(RowStream, "rows", counted(RowStream.rows, read))
    _, held_out, names = rows_for(asked)
    assert names == ("maybe", "no", "yes") and len(held_out) == 1
    monkeypatch.setattr("edgetune.training.survey.LOOKED_AT", 4)
    read.clear()
    rows_for(asked)
    assert len(read) == 4
    assert read_sets(config(data=asked.eval_data, shuffle_buffer=None, labels="yes,no,maybe"))[1] == names
    with pytest.raises(DataError, match='the label "yes" is not among the 2 known'):
        read_sets(config(data=asked.eval_data, shuffle_buffer=None, labels="maybe,no"))


def counted(rows, read):
    def counting(self, shard, done=0):
        for found in rows(self, shard, done):
            read.append(found)
            yield found

    return counting


@pytest.mark.parametrize("options", [dict(labels="one"), dict(labels="a,b", task="regress")])
def test_labels_that_say_nothing_are_refused(base, config, tmp_path, options):
    with pytest.raises(ConfigError, match="two or more"):
        train_into(tmp_path / "out", config(**options), base=base("bert"))


def test_what_is_known_of_a_stream_is_what_its_rows_say(tmp_path, rows):
    path = tmp_path / "rows.jsonl"
    scores = [{"text": "a", "score": x, "text_pair": "b" if x == 2 else None} for x in (1.0, 2.0, 6.0)]
    path.write_text("".join(json.dumps(row) + "\n" for row in scores), "utf-8")
    survey = survey_of(RowStream(str(path), "regress"))
    assert survey.scale == (3.0, pytest.approx((14 / 3) ** 0.5)) and survey.pairs
    tags = [{"tokens": ["a", ","], "tags": ["O", "P"]}, {"tokens": ["b"], "tags": ["O"]}]
    path.write_text("".join(json.dumps(row) + "\n" for row in tags), "utf-8")
    survey = survey_of(RowStream(str(path), "tag"))
    assert survey.names == ("O", "P") and survey.word_split == "punctuation"
    in_memory = rows("classify")
    assert set(survey_of(RowStream(in_memory, "classify")).names) == {
        r.label for r in read_rows(in_memory, task="classify")
    }


def test_a_row_that_the_base_cannot_read_is_named_with_its_own_file(base, folders, tmp_path):
    for name, count in (("a", 2), ("b", 2000)):
        row = {"prompt": "w1 " * count, "completion": "w2"}
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n", "utf-8")
    asked = TrainConfig(model=folders("llama"), data=str(tmp_path / "*.jsonl"), task="generate", steps=2, batch_size=2)
    with pytest.raises(DataError, match=r"b\.jsonl:1: .* tokens, but"):
        train_into(tmp_path / "out", asked, base=base("llama"))


def test_cut_texts_are_told_of_once(base, config, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        train_into(tmp_path / "out", config(max_length=2, eval_data=None), base=base("bert"))
    assert sum("were cut" in record.getMessage() for record in caplog.records) == 1


def test_a_comparison_refuses_a_stream(cli, config, tmp_path):
    asked = config()
    ended = cli("compare", "--model", asked.model, "--data", asked.data, "--eval-data", asked.eval_data,
                "--task", "classify", "--out", tmp_path / "out")  # fmt: skip
    assert ended.code != 0 and "holds its rows in memory" in ended.err
