"""The plan of a study: arms, trials, encoder jobs and contrasts. No torch, no disk access."""
