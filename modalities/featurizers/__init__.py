"""Molecules as characters, names and tokens; no torch."""
