"""The golden signatures are taken or refused as every language's runtime does: see tests/golden/signatures.py."""

import json
import shutil

import edgetune_runtime
import pytest
from edgetune_runtime import errors

from .conftest import GOLDEN

MADE = json.loads((GOLDEN / "signatures.json").read_text("utf-8"))


def named(given):
    return f"{given.get('bundle') or given['file']}-{given['name']}"


@pytest.mark.parametrize("given", MADE["cases"], ids=named)
def test_a_signature_is_taken_or_refused(given, tmp_path):
    keys = [MADE["keys"][x] for x in given["keys"]]

    def call():
        if "file" in given:
            path = shutil.copy(GOLDEN / given["file"], tmp_path)
            return edgetune_runtime.verify(path, keys, signature=given["signature"].encode())
        ignored = shutil.ignore_patterns("expected.json", "options.json", "*.sig")
        folder = shutil.copytree(GOLDEN / given["bundle"], tmp_path / "bundle", ignore=ignored)
        if given["signature"] is not None:
            (folder / "model.sig").write_text(given["signature"], "utf-8")
        return edgetune_runtime.load(folder, threads=1, trusted_keys=keys)

    if given["expected"] is None:
        assert call() is not None
    else:
        with pytest.raises(errors.EdgetuneError) as caught:
            call()
        assert type(caught.value).__name__ == given["expected"]
