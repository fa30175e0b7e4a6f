"""From rows to a finished adapter."""
