"""The workshop: tune soft prompts and prefixes on a frozen base model."""

__version__ = "0.1.0"
