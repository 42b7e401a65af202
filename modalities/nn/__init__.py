"""Networks of the encoders."""
