"""Bases that many tests read and none changes."""

import functools

import pytest
import torch

from .tiny import base_of

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def base():
    """`base("llama")`: one base a family and session."""
    return functools.cache(base_of)
