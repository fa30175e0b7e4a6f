"""How fast a bundle is on this machine, and what it takes of it."""
