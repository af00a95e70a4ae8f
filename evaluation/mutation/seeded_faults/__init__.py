"""Seeded faults: a correct convolution in steps, and a table of deviations from it, by family."""
