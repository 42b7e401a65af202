"""Hyperparameter search inside a trial."""
