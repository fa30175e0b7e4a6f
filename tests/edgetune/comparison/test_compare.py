"""`edgetune compare` from rows to page, on two-layer models."""

import json
import re

import edgetune_runtime
import pytest

from edgetune.adapter import load_adapter
from edgetune.config import TrainConfig, read_config
from edgetune.evaluation.bundle import evaluate_bundle
from edgetune.sweep import runs

TASKS = ["classify", "generate"]


@pytest.mark.parametrize("task", TASKS)
class TestWhatIsLeft:
    def test_the_folder_holds_the_page_the_figures_the_adapters_and_the_bundle(self, task, compared):
        folder = compared[task].folder
        assert {path.name for path in folder.iterdir()} == {"report.html", "comparison.json", "adapters", "bundle"}
        assert not [path for path in folder.parent.iterdir() if path != folder]

    def test_the_bundle_has_one_adapter_a_variant(self, task, compared):
        model = edgetune_runtime.load(compared[task].folder / "bundle")
        assert {name: info.method for name, info in model.adapters.items()} == {
            "prompt-3": "prompt",
            "prefix-3": "prefix",
        }

    def test_the_adapters_are_the_best_seeds_and_say_how_they_were_made(self, task, compared):
        for variant in compared[task].figures["variants"]:
            folder = compared[task].folder / "adapters" / variant["name"]
            assert load_adapter(folder).parameters == variant["parameters"]
            config = TrainConfig(**read_config(folder / "run.toml"))
            assert (config.method, config.virtual_tokens) == (variant["method"], 3)
            assert config.seed == variant["best_seed"]

    def test_quality_is_what_evaluating_the_bundle_says(self, task, compared, rows):
        found = compared[task]
        measure = found.figures["measure"]["name"]
        for variant in found.figures["variants"]:
            told = evaluate_bundle(found.folder / "bundle", rows(task, "held_out"), variant["name"])
            (kept,) = [run for run in variant["runs"] if run["seed"] == variant["best_seed"]]
            assert kept["metrics"][measure] == pytest.approx(told[measure], abs=1e-6)
            assert (
                variant["size_bytes"]
                == (found.folder / f"bundle/adapters/{variant['name']}.safetensors").stat().st_size
            )

    def test_figures_are_whole(self, task, compared):
        figures = compared[task].figures
        assert figures["format"] == "edgetune-comparison" and figures["seeds"] == [0, 1]
        for variant in figures["variants"]:
            assert 0 < variant["share_of_base"] < 1 and variant["latency"]["first_ms"] > 0
            assert (variant["latency"]["per_token_ms"] is None) == (task == "classify")
            assert variant["quality"]["least"] <= variant["quality"]["mean"] <= variant["quality"]["most"]
            for run in variant["runs"]:
                assert [step for step, _ in run["losses"]] == [1, 2, 3, 4, 5, 6]
                assert [step for step, _ in run["evaluations"]] == [3, 6]
        assert (figures["base"] is None) == (task == "classify")

    def test_each_run_was_announced_and_the_table_fits_a_terminal(self, task, compared):
        said, printed = compared[task].said, compared[task].printed
        told = re.findall(r"^run .*$", said, re.M)
        assert told[0] == "run 1 of 4: prompt, 3 tokens, seed 0" and told[3] == "run 4 of 4: prefix, 3 tokens, seed 1"
        table = printed.split("\n\n")[0]
        assert "prefix-3" in table and max(map(len, table.splitlines())) <= 80

    def test_the_recommendation_is_the_same_everywhere(self, task, compared):
        text = compared[task].figures["recommendation"]["text"]
        assert " ".join(text.split()) in " ".join(compared[task].printed.split())
        assert text in (compared[task].folder / "report.html").read_text("utf-8")


@pytest.fixture
def refused(cli, tmp_path):
    """`refused(…)` → the one line that an error is; nothing is left of the attempt."""

    def call(*arguments):
        found = cli(*arguments, "--out", tmp_path / "out")
        assert found.code == 1 and found.out == ""
        assert found.err.startswith("edgetune: ") and found.err.count("\n") == 1, found.err
        assert not list(tmp_path.glob("out*")) and not list(tmp_path.glob(".out*"))
        return found.err

    return call


class TestRefusals:
    """Each before the first run."""

    def test_held_out_rows_are_needed(self, refused, arguments):
        given = arguments("classify")
        at = given.index("--eval-data")
        assert "--eval-data is missing" in refused(*given[:at], *given[at + 2 :])

    def test_an_unknown_method(self, refused, arguments):
        assert "method is 'lora'" in refused(*arguments("classify"), "--methods", "lora")

    def test_a_start_that_the_task_does_not_have(self, refused, arguments):
        assert "--init labels needs a task with labels" in refused(*arguments("generate"), "--inits", "vocab,labels")

    def test_a_prefix_through_an_lstm(self, refused, arguments):
        given = ["--methods", "prefix", "--reparameterise", "none,lstm"]
        assert "a prefix takes mlp" in refused(*arguments("classify"), *given)

    def test_a_length_that_leaves_no_room_for_text(self, refused, arguments):
        assert "leave no room for text" in refused(*arguments("classify"), "--lengths", "3,64")

    def test_a_model_that_does_not_fit_the_task(self, refused, arguments, folders):
        given = [folders("llama") if x == folders("bert") else x for x in arguments("classify")]
        assert "is a decoder; --task classify needs" in refused(*given)

    def test_chats_to_measure_on(self, refused, arguments, tmp_path):
        turns = [{"role": "user", "content": "w1"}, {"role": "assistant", "content": "w2"}]
        (tmp_path / "chats.jsonl").write_text(json.dumps({"messages": turns}) + "\n", "utf-8")
        given = arguments("generate")
        given[given.index("--eval-data") + 1] = str(tmp_path / "chats.jsonl")
        assert "chats.jsonl:1: chats cannot be measured" in refused(*given)

    def test_rows_with_labels_that_training_never_saw(self, refused, arguments, tmp_path):
        (tmp_path / "other.jsonl").write_text('{"text": "w1", "label": "perhaps"}\n', "utf-8")
        given = arguments("classify")
        given[given.index("--eval-data") + 1] = str(tmp_path / "other.jsonl")
        assert "perhaps" in refused(*given)


def test_an_earlier_comparison_is_replaced_only_with_force(cli, arguments, compared):
    folder = compared["classify"].folder
    before = (folder / "comparison.json").read_bytes()
    found = cli(*arguments("classify"), "--out", folder)
    assert found.code == 1 and "--force" in found.err
    assert (folder / "comparison.json").read_bytes() == before


def test_options_come_from_a_file_too(cli, arguments, tmp_path):
    (tmp_path / "run.toml").write_text('steps = 2\nbatch_size = 4\nmethod = "prefix"\nvirtual_tokens = 2\nseed = 5\n')
    found = cli(
        *arguments("classify"), "--config", tmp_path / "run.toml", "--seeds", 1, "--methods", "prompt",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert found.code == 0, found.err
    figures = json.loads((tmp_path / "out/comparison.json").read_text("utf-8"))
    assert (figures["steps"], figures["rows_a_step"], figures["seeds"]) == (2, 4, [5])
    assert [variant["name"] for variant in figures["variants"]] == ["prompt-2"]


def test_options_of_the_methods_are_compared_in_one_bundle(cli, folders, rows, tmp_path):
    variants = ["prompt,prompt_position=after", "prompt+prefix", "prefix,prefix_lengths=1,2", "prefix,prefix_share=kv"]
    found = cli(
        "compare", "--model", folders("bert"), "--task", "classify", "--data", rows("classify"), "--eval-data",
        rows("classify", "held_out"), "--steps", 2, "--batch-size", 4, "--seeds", 1, "--out", tmp_path / "out",
        *(x for variant in variants for x in ("--variants", f"{variant},virtual_tokens=3")),
    )  # fmt: skip
    assert found.code == 0, found.err
    figures = json.loads((tmp_path / "out" / "comparison.json").read_text("utf-8"))["variants"]
    assert {one["name"]: one["virtual_tokens"] for one in figures} == {
        "prompt-3-after": 3, "prompt-prefix-3": 6, "prefix-3-prefix_lengths-1-2": 2, "prefix-3-kv": 3,
    }  # fmt: skip
    of = {one["name"]: one["parameters"] - one["head_parameters"] for one in figures}
    assert of["prefix-3-prefix_lengths-1-2"] == of["prefix-3-kv"] == 3 * 64


def test_a_comparison_that_was_stopped_goes_on_with_what_is_left(cli, arguments, compared, tmp_path, monkeypatch):
    """Stopped in the third of four runs; the figures are those of one that nothing disturbed."""
    budget = ["--methods", "prompt,prefix", "--steps", 6, "--batch-size", 8, "--lengths", 3, "--seeds", 2]
    given = [*arguments("classify"), *budget, "--eval-every", 3, "--out", tmp_path / "out"]
    trained, original = [], runs.train_into

    def counted(out, *args, **kwargs):
        trained.append(out.name)
        if trained == ["run-1", "run-2", "run-3"]:
            raise KeyboardInterrupt
        return original(out, *args, **kwargs)

    monkeypatch.setattr(runs, "train_into", counted)
    found = cli(*given)
    assert found.code == 130 and "continue with --resume" in found.err and not (tmp_path / "out").exists()
    assert "continue with --resume, or start over with --force" in cli(*given).err
    assert "begun with other values" in cli(*given, "--learning-rate", 0.5, "--resume").err
    found = cli(*given, "--resume")
    assert found.code == 0, found.err
    assert trained[3:] == ["run-3", "run-4"] and [path.name for path in tmp_path.iterdir()] == ["out"]
    figures = json.loads((tmp_path / "out" / "comparison.json").read_text("utf-8"))
    for ours, whole in zip(figures["variants"], compared["classify"].figures["variants"], strict=True):
        for one, other in zip(ours["runs"], whole["runs"], strict=True):
            assert [one[x] for x in ("metrics", "losses", "evaluations", "kept_step")] == [
                other[x] for x in ("metrics", "losses", "evaluations", "kept_step")
            ]
