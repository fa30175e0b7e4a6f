"""No change of a signed bundle is accepted: the short list of every language; `golden/mutations.py` has a long one."""

import base64
import json

import pytest
from edgetune_runtime import SignatureError
from edgetune_runtime.errors import EdgetuneError
from edgetune_runtime.signed_files import verify
from references.mutations import MANIFEST, SIGNATURE, changed

from .conftest import GOLDEN

pytest.importorskip("cryptography")
RECORDED = json.loads((GOLDEN / "mutations.json").read_text("utf-8"))


@pytest.fixture
def signed():
    root = GOLDEN / RECORDED["bundle"]
    listed = json.loads((root / MANIFEST).read_text("utf-8"))["files"]
    files = {name: (root / name).read_bytes() for name in (MANIFEST, *listed)}
    return {**files, SIGNATURE: RECORDED["signature"].encode()}


def written(files, folder):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def test_a_signed_bundle_is_accepted_and_none_of_its_changes(signed, tmp_path):
    written(signed, tmp_path)
    verify(tmp_path, RECORDED["key"])
    for change in RECORDED["changes"]:
        after = changed(signed, change)
        assert after != signed
        touched = {change["file"], change.get("other", change["file"])}
        for name in touched:
            (tmp_path / name).write_bytes(after[name]) if name in after else (tmp_path / name).unlink()
        with pytest.raises(EdgetuneError):
            verify(tmp_path, RECORDED["key"])
        for name in touched:
            (tmp_path / name).write_bytes(signed[name])
    written(signed, tmp_path)
    verify(tmp_path, RECORDED["key"])


def test_a_file_that_was_added_is_refused(signed, tmp_path):
    written(signed, tmp_path)
    (tmp_path / "more").write_bytes(b"")
    with pytest.raises(SignatureError, match="more"):
        verify(tmp_path, RECORDED["key"])


def test_the_list_has_every_kind_of_change():
    kinds = [x["kind"] for x in RECORDED["changes"]]
    assert kinds.count("byte") == 200 and len(kinds) == 300 and set(kinds) == {"byte", "splice", "remove", "swap"}
    assert all(base64.b64decode(x["data"], validate=True) is not None for x in RECORDED["changes"] if "data" in x)
