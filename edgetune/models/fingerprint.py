"""A hash over a base's weights: adapters fit the base whose fingerprint they name."""

from __future__ import annotations

import hashlib

import torch
from transformers import PreTrainedModel


def fingerprint(model: PreTrainedModel) -> str:
    """`sha256:<hex>` over the parameters of backbone and output head as float32, in order of their names.

    The same for every file format, sharding and lossless storage type of the weights. Poolers are left out: they are
    new and random when a checkpoint has none, and edgetune runs none.
    """
    digest = hashlib.sha256(model.config.model_type.encode())
    for name, weight in sorted(model.named_parameters()):
        if "pooler" in name.split("."):
            continue
        digest.update(f"\0{name}\0{tuple(weight.shape)}\0".encode())
        digest.update(weight.detach().to("cpu", torch.float32).contiguous().numpy().data)
    return f"sha256:{digest.hexdigest()}"
