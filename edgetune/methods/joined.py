"""A prompt and a prefix that are tuned together: the prefix first, then the prompt, then the text."""

from __future__ import annotations

from dataclasses import replace

import torch

from edgetune.methods.prefix import Prefix
from edgetune.methods.prompt import Prompt
from edgetune.methods.reparameterised import Reparameterised
from edgetune.models.virtual import Virtual


class Joined(torch.nn.Module):
    """Both, each with its own values or its own network. A prompt behind the text stands behind it here too."""

    def __init__(self, prompt: Prompt | Reparameterised, prefix: Prefix | Reparameterised) -> None:
        super().__init__()
        self.prompt, self.prefix = prompt, prefix

    def virtual(self) -> Virtual:
        prompt = self.prompt.virtual()
        return replace(self.prefix.virtual(), prompt=prompt.prompt, suffix=prompt.suffix)


Soft = Prompt | Prefix | Joined | Reparameterised
"""The learned virtual tokens of an adapter, in any form."""
