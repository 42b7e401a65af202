"""Weight files: found, loaded strictly, described by a model card."""
