"""What the results mean: summaries and comparisons, always recomputed from stored scores."""
