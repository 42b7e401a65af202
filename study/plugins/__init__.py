"""Components by name: the registry of every family, and the options of a component."""
