"""Layers that give what passes through them mean 0 and variance 1, or one of the two."""
