"""Where tasks run: this process, or a Ray cluster."""
