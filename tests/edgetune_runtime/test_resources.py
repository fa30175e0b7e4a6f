"""What a caller says of the device arrives at onnxruntime, and changes no answer."""

import json

import edgetune_runtime
import pytest
from edgetune_runtime.resources import Resources, session_options
from edgetune_runtime.session import open_session


def entry(options, key):
    return options.get_session_config_entry(key)


def test_threads_and_arena_are_onnxruntimes():
    options = session_options(Resources(threads=3, arena=False), "model")
    assert options.intra_op_num_threads == 3 and not options.enable_cpu_mem_arena
    assert session_options(Resources(), "model").enable_cpu_mem_arena


def test_threads_that_do_not_spin_are_told_so():
    assert entry(session_options(Resources(spin=False), "model"), "session.intra_op.allow_spinning") == "0"


def test_threads_that_spin_stop_with_the_last_call():
    assert entry(session_options(Resources(), "model"), "session.force_spinning_stop") == "1"


@pytest.mark.parametrize("options", [{"spin": False}, {"arena": False}, {"threads": 1}], ids=str)
def test_no_answer_depends_on_the_resources(decoder_folder, loaded, options):
    plain, other = loaded(decoder_folder), edgetune_runtime.load(decoder_folder, **options)
    wanted = plain.generate([5, 6, 7], max_new_tokens=5, min_new_tokens=5)
    assert other.generate([5, 6, 7], max_new_tokens=5, min_new_tokens=5).token_ids == wanted.token_ids


def test_a_profile_names_the_operators_that_ran(decoder_folder, tmp_path):
    model = edgetune_runtime.load(decoder_folder, profile=tmp_path / "slow")
    model.generate([5, 6, 7], max_new_tokens=2, min_new_tokens=2)
    del model
    (written,) = tmp_path.glob("slow-model*.json")
    names = {event.get("args", {}).get("op_name") for event in json.loads(written.read_text("utf-8"))}
    assert {"GroupQueryAttention", "MatMul"} & names


def test_the_graph_opens_with_nothing_said(decoder_folder):
    assert open_session(decoder_folder / "model.onnx").get_inputs()
