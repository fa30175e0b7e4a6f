"""Shapes that signatures state are checked while the tests run.

The hook decorates what Python has not imported yet, so it is installed here, before any test module. The runtime's tests
also run where neither jaxtyping nor torch is installed.
"""

from contextlib import suppress

with suppress(ImportError):
    from jaxtyping import install_import_hook

    install_import_hook(("edgetune.methods", "edgetune.models"), "beartype.beartype")
