"""What `study plan` tells before anything runs: cost, power, a pilot."""
