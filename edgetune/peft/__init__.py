"""Adapters of Hugging Face PEFT, in and out; nothing here imports PEFT."""

from edgetune.peft.translation import adapter_from_peft, adapter_on, write_peft

__all__ = ["adapter_from_peft", "adapter_on", "write_peft"]
