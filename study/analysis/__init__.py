"""Statistical inference: estimates and comparisons, always recomputed from stored scores."""
