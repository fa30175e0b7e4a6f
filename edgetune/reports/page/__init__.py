"""The page of a comparison: one HTML file without scripts that asks for nothing else."""
