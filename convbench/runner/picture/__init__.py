"""A photograph through a convolution, by each backend."""
