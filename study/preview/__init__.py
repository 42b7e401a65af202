"""The estimates of `study plan`: cost, detectable effects, and a pilot run."""
