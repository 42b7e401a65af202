"""Application of encoders to molecules outside a study."""
