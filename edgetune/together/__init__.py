"""Adapters for many tasks tuned at once on one frozen base."""
