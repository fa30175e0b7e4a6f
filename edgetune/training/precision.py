"""bf16 for the frozen base's forward pass; what is learned and its optimizer stay fp32."""

from __future__ import annotations

import logging
import platform
from contextlib import AbstractContextManager, nullcontext

import torch

from edgetune.config import Precision
from edgetune.models.half import HalfProducts

log = logging.getLogger(__name__)


def products_in(precision: Precision, model: torch.nn.Module, device: str) -> AbstractContextManager[object]:
    """Products of the frozen model inside, entered once a batch, are of that precision; fp32 changes nothing."""
    if precision == "fp32":
        return nullcontext()
    return HalfProducts(model) if device == "cpu" else torch.autocast(device, torch.bfloat16)


def has_bf16(device: str) -> bool:
    """The machine computes in bf16 itself; without, torch does so in software."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device == "cpu":
        known = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
        # on x86 that says only that oneDNN has a way, be it through fp32
        return known and (platform.machine() not in ("x86_64", "AMD64") or torch.cpu._is_avx512_bf16_supported())
    return True


def warn_of_software(precision: Precision, device: str) -> None:
    if precision == "bf16" and not has_bf16(device):
        log.warning("this machine has no bf16 of its own and computes it in software: fp32 is likely faster")
