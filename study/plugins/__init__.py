"""The registries of components that a study file names, and the options of a component."""
