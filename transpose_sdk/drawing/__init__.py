"""Skeletons, attention and the figures of the paper, drawn on pictures."""
