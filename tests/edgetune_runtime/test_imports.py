"""The device needs numpy, onnxruntime, tokenizers and safetensors, and nothing else is ever imported."""

import subprocess
import sys

import pytest

BANNED = ("torch", "transformers", "onnx", "click", "edgetune", "edgetune_export", "optimum", "datasets", "rich")


def modules_after(code):
    """Names of the modules that a fresh interpreter holds after running `code`."""
    program = f"import sys\n{code}\nprint(*sorted(sys.modules))"
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()


@pytest.mark.parametrize("code", ["import edgetune_runtime", "from edgetune_runtime import *; load; Model"])
def test_banned_packages_are_not_imported(code):
    assert not set(BANNED) & set(modules_after(code))


def test_the_heavy_half_is_imported_when_it_is_wanted():
    light = modules_after("import edgetune_runtime; edgetune_runtime.BundleError")
    assert not {"onnxruntime", "numpy", "tokenizers"} & set(light)
    assert "onnxruntime" in modules_after("import edgetune_runtime; edgetune_runtime.load")


def test_every_public_name_is_there():
    import edgetune_runtime

    assert all(getattr(edgetune_runtime, name) is not None for name in edgetune_runtime.__all__)
    assert set(edgetune_runtime.__all__) <= set(dir(edgetune_runtime))
    assert edgetune_runtime.__version__ == "0.1.0"
    with pytest.raises(AttributeError, match="nothing"):
        edgetune_runtime.nothing  # noqa: B018
