"""Results shown in a tracking store."""
