"""Trained encoders applied to molecules outside a study."""
