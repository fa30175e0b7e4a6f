"""The frozen base: what it is, what shapes it has, and how a soft prompt reaches its attention."""
