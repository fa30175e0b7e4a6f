"""Which parameters of a model are weights of products, and which are tables that are looked up."""

from __future__ import annotations

import torch


def position_tables(model: torch.nn.Module) -> set[int]:
    """Ids of the tables of learned positions, which are looked up as that of words is."""
    return {
        id(module.weight)
        for name, module in model.named_modules()
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding)
    }


def names_of(model: torch.nn.Module) -> dict[int, tuple[str, ...]]:
    """Every name of a parameter, by its id: a tied one has several."""
    found: dict[int, tuple[str, ...]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        found[id(parameter)] = (*found.get(id(parameter), ()), name)
    return found


def linear_weights(model: torch.nn.Module) -> dict[int, bool]:
    """Weights of linear layers by id, and whether they are stored `[K, N]` (GPT-2's) rather than `[N, K]`."""
    from transformers.pytorch_utils import Conv1D

    return {
        id(module.weight): isinstance(module, Conv1D)
        for module in model.modules()
        if isinstance(module, torch.nn.Linear | Conv1D)
    }
