"""Weight files: search, strict loading and model cards."""
