"""Shapes that signatures state are checked while the tests run.

The hook decorates what Python has not imported yet, so it is installed here, before any test module. The runtime's
tests also run where neither jaxtyping nor torch is installed.
"""

import functools
import os
import sys
from contextlib import suppress
from types import ModuleType

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # a process on every core has one thread; read as torch is imported

os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # as the command line has it; read as torch is imported

with suppress(ImportError):
    import torch
    from beartype import beartype
    from jaxtyping import install_import_hook

    def checked(function):
        """beartype, but for the time of an export: lengths are symbols then, and symbols cannot be compared."""
        strict = beartype(function)

        @functools.wraps(function)
        def check(*args, **kwargs):
            return (function if torch.compiler.is_exporting() else strict)(*args, **kwargs)

        return check

    checker = ModuleType("edgetune_test_checker")
    checker.checked = checked
    sys.modules[checker.__name__] = checker
    install_import_hook(("edgetune.methods", "edgetune.models"), f"{checker.__name__}.checked")
