"""What a study will run: arms, trials, encoder jobs, contrasts. No torch, no disk."""
