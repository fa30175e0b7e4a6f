"""Many configurations on one base: what is tried, within which budget, by which engine, and what came out."""
