"""`edgetune import-peft` and `edgetune export-peft` as people call them."""

import json
import sys

import pytest
import torch

from edgetune.adapter import load_adapter
from edgetune.cli import main
from edgetune.peft import adapter_from_peft

pytest.importorskip("peft")


def failed(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        main([str(x) for x in arguments])
    told = capsys.readouterr().err.strip()
    assert caught.value.code == 1 and "\n" not in told
    return told


def test_in_and_out_through_the_command_line(base, folders, made, tmp_path, capsys):
    _, folder = made("llama", "prefix")
    main(["import-peft", str(folder), "--out", str(tmp_path / "ours")])
    assert "PREFIX_TUNING, 5 virtual tokens" in capsys.readouterr().err
    adapter = load_adapter(tmp_path / "ours")
    expected = adapter_from_peft(folder, base("llama")).tensors
    assert all(torch.equal(adapter.tensors[name], x) for name, x in expected.items())
    assert adapter.base_name == folders("llama")
    main(["export-peft", str(tmp_path / "ours"), "--out", str(tmp_path / "theirs")])
    assert "prefix, 5 virtual tokens" in capsys.readouterr().err
    written, original = ((x / "adapter_model.safetensors").read_bytes() for x in (tmp_path / "theirs", folder))
    assert written == original


def test_a_multitask_prompt_takes_a_task_and_a_base(base, folders, made, tmp_path):
    _, folder = made("llama", "multitask")
    out = tmp_path / "ours"
    main(["import-peft", str(folder), "--out", str(out), "--task-id", "2", "--model", folders("llama")])
    expected = adapter_from_peft(folder, base("llama"), 2).tensors["prompt_embeds"]
    assert torch.equal(load_adapter(out).tensors["prompt_embeds"], expected)


def test_a_refusal_is_one_line_and_leaves_nothing(made, tmp_path, capsys):
    _, folder = made("llama", "multitask")
    assert "choose one with --task-id 0 … 2" in failed(capsys, "import-peft", folder, "--out", tmp_path / "ours")
    assert not list(tmp_path.iterdir())


def test_a_result_is_replaced_only_with_force(made, tmp_path, capsys):
    _, folder = made("llama", "prompt")
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for arguments in (["import-peft", folder, "--out", ours], ["export-peft", ours, "--out", theirs]):
        main([str(x) for x in arguments])
        capsys.readouterr()
        assert "--force" in failed(capsys, *arguments)
        main([*(str(x) for x in arguments), "--force"])


def test_force_does_not_replace_a_folder_that_is_no_adapter(made, tmp_path, capsys):
    (tmp_path / "precious").write_text("!")
    _, folder = made("llama", "prompt")
    assert "not replaced even with --force" in failed(capsys, "import-peft", folder, "--out", tmp_path, "--force")


def test_a_linear_head_is_refused_before_its_base_is_loaded(made, tmp_path, capsys):
    ours = tmp_path / "ours"
    main(["import-peft", str(made("llama", "prompt")[1]), "--out", str(ours)])
    capsys.readouterr()
    told = json.loads((ours / "adapter.json").read_text())
    (ours / "adapter.json").write_text(json.dumps({**told, "task": "classify", "base_name": "not/there"}))
    message = failed(capsys, "export-peft", ours, "--out", tmp_path / "theirs")
    assert message.startswith("edgetune: PEFT cannot express this adapter: its head is linear")


def test_both_work_where_peft_is_not_installed(made, tmp_path, monkeypatch):
    _, folder = made("llama", "prompt")
    for name in [x for x in sys.modules if x.startswith(("edgetune.peft", "edgetune.commands."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "peft", None)
    main(["import-peft", str(folder), "--out", str(tmp_path / "ours")])
    main(["export-peft", str(tmp_path / "ours"), "--out", str(tmp_path / "theirs")])
    assert (tmp_path / "theirs" / "adapter_config.json").exists()
