"""A base that is needed no more afterwards: its weights give their memory back as they are used up."""

from __future__ import annotations

import ctypes
import mmap
import sys

import torch

from edgetune.models.base import Base
from edgetune.models.rounding import Weights, each_rounded


def round_for_good(base: Base, weights: Weights) -> None:
    """From now on the base computes with the weights that a bundle stores; those that it had are gone."""
    for old in each_rounded(base, weights):
        forget_pages(old)


def let_go(base: Base) -> None:
    """The base holds no weights any more, only their shapes: it computes nothing from now on."""
    _ = base.fingerprint
    shapes = {
        parameter: torch.nn.Parameter(torch.empty_like(parameter, device="meta"), requires_grad=False)
        for parameter in base.model.parameters()
    }
    for module in base.model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = shapes[parameter]
    for parameter in shapes:  # torch's exporter remembers what it traced
        parameter.data = torch.empty(0)


def forget_pages(dead: torch.Tensor) -> None:
    """Takes the pages of weights that nobody reads again out of memory: a checkpoint is one mapping, which would keep
    them until its last weight is gone."""
    if sys.platform != "linux" or dead.device.type != "cpu" or not dead.is_contiguous():
        return
    page = mmap.PAGESIZE
    start = -(-dead.data_ptr() // page) * page
    end = (dead.data_ptr() + dead.numel() * dead.element_size()) // page * page
    if start < end and maps_file(start, end):
        ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)


def maps_file(start: int, end: int) -> bool:
    """Whether the addresses lie in one mapping of a file (man 5 proc, /proc/pid/maps)."""
    with open("/proc/self/maps", encoding="utf-8") as file:
        for line in file:
            addresses, *_, inode = line.split()[:5]
            first, last = (int(x, 16) for x in addresses.split("-"))
            if first <= start and end <= last:
                return inode != "0"
    return False
