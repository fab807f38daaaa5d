"""A training step as a program: traced once, cut into kernels, run without Python between them."""
