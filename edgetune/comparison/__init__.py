"""Prompts and prefixes side by side on the user's own rows and base: the plan, the runs, the figures, the choice."""
