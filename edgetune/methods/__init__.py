"""The learned parts of an adapter: prompt, prefix and head."""
