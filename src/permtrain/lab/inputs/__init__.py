"""Permuting inputs in place of weights: shuffled pixels, back to a picture."""
