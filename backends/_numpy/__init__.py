"""What the backends in NumPy and SciPy share."""
