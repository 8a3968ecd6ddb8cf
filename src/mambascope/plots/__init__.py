"""Figures: each takes a result and nothing else."""
