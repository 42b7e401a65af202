"""Trials: training loop, encoders, heads, packs, process groups."""
