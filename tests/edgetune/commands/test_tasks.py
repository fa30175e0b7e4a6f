"""Label words, tags and numbers all the way through the commands, on tiny checkpoints."""

import json
import re

import pytest
import torch
import transformers

from edgetune.models.base import base_from

from ..tiny import SHAPE, VOCAB, WORDS, saved, tokenizer_of

SHORT = ["--steps", "60", "--batch-size", "8", "--virtual-tokens", "3", "--eval-every", "30", "--learning-rate", "0.05"]


def filling(family):
    """A masked language model with a tokenizer that has a mask token in place of one of its words."""
    torch.manual_seed(0)
    config = {"bert": transformers.BertConfig, "roberta": transformers.RobertaConfig}[family](**SHAPE, pad_token_id=0)
    model = transformers.AutoModelForMaskedLM.from_config(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(0, 0.2)
    tokenizer = tokenizer_of("encoder")
    tokenizer.add_special_tokens({"mask_token": "<mask>"})
    assert len(tokenizer) == VOCAB + 1
    model.resize_token_embeddings(VOCAB + 1)
    return base_from(model, tokenizer, f"tiny-{family}", "words")


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    return str(saved(filling("bert"), tmp_path_factory.mktemp("bases") / "masked"))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """By task: rows to learn, which say themselves what they are."""
    folder = tmp_path_factory.mktemp("rows")
    made = {
        "words": [{"text": f"w{14 + i % 2} w{20 + i % 9}", "label": ("w40", "w41")[i % 2]} for i in range(32)],
        "pairs": [
            {"text": f"w{20 + i % 9}", "text_pair": f"w{14 + i % 2}", "label": ("w40", "w41")[i % 2]} for i in range(32)
        ],
        "tag": [
            {"tokens": [f"w{20 + i % 5}", f"w{40 + i % 3}", f"w{50 + i % 3}"], "tags": ["O", "B-x", "I-x"]}
            for i in range(32)
        ],
        "regress": [{"text": f"w{20 + i % 4} w{30 + i % 7}", "score": 100.0 + 10 * (i % 4)} for i in range(32)],
        "rated pairs": [
            {"text": "w5", "text_pair": f"w{20 + i % 4}", "score": 100.0 + 10 * (i % 4)} for i in range(32)
        ],
    }
    for name, rows in made.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return lambda name: str(folder / f"{name}.jsonl")


def through(cli, tmp_path, model, data, *options):
    """Trained, exported, measured both ways → metrics of the adapter and of the bundle."""
    adapter, bundle = tmp_path / "adapter", tmp_path / "bundle"
    for arguments in (
        ("train", "--model", model, "--data", data, "--eval-data", data, "--out", adapter, *SHORT, *options),
        ("export", "--model", model, "--adapter", adapter, "--out", bundle),
    ):
        done = cli(*arguments)
        assert done.code == 0, done.err
    found = [
        json.loads(cli("evaluate", *of, "--data", data, "--json").out)
        for of in (("--adapter", adapter, "--model", model), ("--bundle", bundle))
    ]
    for name in set(found[0]) & set(found[1]):
        assert found[0][name] == pytest.approx(found[1][name], rel=1e-3, abs=1e-3), name
    return found[1]


def test_words_of_a_masked_model(cli, tmp_path, masked, files):
    metrics = through(
        cli, tmp_path, masked, files("words"), "--task", "classify", "--head", "words", "--init", "labels"
    )
    assert metrics["accuracy"] > 0.9 and metrics["macro_f1"] > 0.9
    assert re.match(r"w4[01] \d\.\d+  w4[01] ", cli("run", tmp_path / "bundle", "w14 w22").out)
    told = json.loads(cli("inspect", tmp_path / "adapter", "--json").out)
    assert told["template"] == "{text} It was {mask}." and told["label_words"] == {
        "w40": [WORDS.index("w40")], "w41": [WORDS.index("w41")]
    }  # fmt: skip
    assert told["parameters"] == sum(_count(shape) for name, shape in told["tensors"].items() if "head" not in name)
    assert "classify, prefix, 3 virtual tokens, 2 labels" in cli("inspect", tmp_path / "bundle").out


def _count(shape):
    return torch.Size(shape).numel()


def test_words_of_a_masked_model_for_pairs(cli, tmp_path, masked, files):
    options = ["--task", "classify", "--head", "words", "--method", "prompt", "--template", "{text_pair} {mask} {text}"]
    assert through(cli, tmp_path, masked, files("pairs"), *options)["accuracy"] > 0.9


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_words_of_a_decoder(cli, tmp_path, folders, files, family):
    options = ["--task", "text-classification", "--head", "words", "--label-words", "w40=w50,w51", "--init", "labels"]
    metrics = through(cli, tmp_path, folders(family), files("words"), *options)
    assert metrics["accuracy"] > 0.9
    told = json.loads(cli("inspect", tmp_path / "adapter", "--json").out)
    assert [len(ids) for ids in told["label_words"].values()] == [2, 1]
    assert cli("run", tmp_path / "bundle", "w14 w22", "--top-k", "1").out.startswith("w4")
    assert cli("run", tmp_path / "bundle", "w14", "--base", "--max-new-tokens", "2").code == 0


def test_tags(cli, tmp_path, folders, files):
    metrics = through(
        cli, tmp_path, folders("bert"), files("tag"), "--task", "token-classification", "--init", "labels"
    )
    assert metrics["f1"] > 0.9 and metrics["accuracy"] > 0.9
    out = cli("run", tmp_path / "bundle", "w21 w40 w51").out
    assert re.fullmatch(r"w40 w51 \[x \d\.\d+\]\n", out), out
    assert json.loads(cli("inspect", tmp_path / "adapter", "--json").out)["word_split"] == "space"
    assert "tag, prefix, 3 virtual tokens, 3 tags" in cli("inspect", tmp_path / "bundle").out


@pytest.mark.parametrize("data", ["regress", "rated pairs"])
def test_numbers(cli, tmp_path, folders, files, data):
    metrics = through(cli, tmp_path, folders("bert"), files(data), "--task", "regress", "--method", "prompt")
    assert metrics["mse"] < 60 and metrics["pearson"] > 0.8  # the scores' own variance is 125
    assert 60 < float(cli("run", tmp_path / "bundle", "w20 w31").out) < 170


def test_several_sets_are_measured_apart(cli, bundles, rows):
    arguments = ["evaluate", "--bundle", bundles["classify"], "--data", f"matched={rows('classify')}"]
    both = json.loads(cli(*arguments, "--data", f"mismatched={rows('classify', 'held_out')}", "--json").out)
    alone = json.loads(cli("evaluate", "--bundle", bundles["classify"], "--data", rows("classify"), "--json").out)
    assert list(both) == ["matched", "mismatched"] and both["matched"]["accuracy"] == alone["accuracy"]
    told = cli(*arguments, "--data", rows("classify", "held_out")).out
    assert told.count("accuracy") == 2 and "matched:\n" in told and "classify_held_out:\n" in told
    assert "two sets are named 'matched'" in cli(*arguments, "--data", f"matched={rows('classify')}").err


@pytest.mark.parametrize("options, told", [
    (["--task", "classify", "--template", "{text} {mask}"], "--template is for --head words"),
    (["--task", "classify", "--label-words", "w40=w9"], "--label-words is for --head words"),
    (["--task", "tag", "--head", "words"], "--head words is for --task classify; for --task tag use linear or mlp"),
    (["--task", "classify", "--head", "words", "--pooling", "first"], "--pooling first does not go with words"),
    (["--task", "classify", "--head", "words", "--template", "{text}"], "has {mask} 0 times; it belongs in once"),
    (["--task", "classify", "--head", "words", "--label-words", "w9=w8"], "'w9', which is no label of the rows"),
    (["--task", "classify", "--head", "words", "--label-words", "w40=w41"], "would both be read off the token 'w41'"),
    (["--task", "classify", "--head", "words", "--label-words", "w40=zebra"], "no token for the label word 'zebra'"),
    (["--task", "classify", "--head", "words", "--template", "{text} {text_pair} {mask}"], "the row has no text_pair"),
])  # fmt: skip
def test_options_that_do_not_fit_are_refused(refused, tmp_path, masked, files, options, told):
    arguments = ["train", "--model", masked, "--data", files("words"), "--out", tmp_path / "a", *options]
    assert told in refused(*arguments)
    assert not (tmp_path / "a").exists()


def test_a_decoder_without_label_words_is_told_of_them(refused, tmp_path, folders, files):
    arguments = ["train", "--model", folders("llama"), "--data", files("words"), "--out", tmp_path / "a"]
    assert "a decoder classifies by its own words: add --head words" in refused(*arguments, "--task", "classify")
    assert "--task tag needs an encoder such as BERT" in refused(
        "train", "--model", folders("llama"), "--data", files("tag"), "--out", tmp_path / "a", "--task", "tag"
    )


def test_a_checkpoint_without_its_output_head_has_no_words(refused, tmp_path, folders, files):
    arguments = ["train", "--model", folders("bert"), "--data", files("words"), "--out", tmp_path / "a"]
    assert "has no output head over its vocabulary: cls.predictions" in refused(
        *arguments, "--task", "classify", "--head", "words"
    )


def test_scores_that_are_all_the_same_are_refused(refused, tmp_path, folders, written):
    data = written("same.jsonl", *[{"text": f"w{i}", "score": 3} for i in range(4)])
    arguments = ["train", "--model", folders("bert"), "--task", "regress", "--data", data, "--out", tmp_path / "a"]
    assert "every score is 3, so there is nothing to learn" in refused(*arguments)


def test_a_base_alone_is_exported_for_what_is_asked(cli, tmp_path, masked, folders):
    for name, options in (("words", ["--head", "words"]), ("tags", ["--task", "tag"])):
        model = masked if name == "words" else folders("bert")
        assert cli("export", "--model", model, "--out", tmp_path / name, *options).code == 0
    poolings = {
        name: json.loads((tmp_path / name / "bundle.json").read_text())["graph"]["pooling"]
        for name in ("words", "tags")
    }
    assert poolings == {"words": "mask", "tags": "each"}


@pytest.mark.parametrize("task, options, quality", [
    ("tag", [], "entity F1"), ("regress", [], "squared error"), ("words", ["--head", "words"], "accuracy"),
])  # fmt: skip
def test_compare_judges_each_task_by_its_own_measure(cli, tmp_path, masked, folders, files, task, options, quality):
    model = masked if task == "words" else folders("bert")
    done = cli(
        "compare", "--model", model, "--task", "classify" if task == "words" else task, "--data", files(task),
        "--eval-data", files(task), "--steps", "6", "--batch-size", "8", "--lengths", "2", "--seeds", "1",
        "--out", tmp_path / "c", *options,
    )  # fmt: skip
    assert done.code == 0, done.err
    figures = json.loads((tmp_path / "c" / "comparison.json").read_text())
    assert figures["measure"]["name"] == {"tag": "f1", "regress": "mse", "words": "accuracy"}[task]
    assert quality in (tmp_path / "c" / "report.html").read_text() and quality.split()[0] in done.out
