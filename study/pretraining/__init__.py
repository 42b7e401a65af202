"""Pretraining: encoders trained on molecules alone, ending in a folder of weights with a card."""
