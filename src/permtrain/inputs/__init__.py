"""Permuting inputs in place of weights: the pixels of an image, from a shuffle back to a picture."""
