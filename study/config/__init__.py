"""The study file: sections, components, designs, and the registry of names."""
