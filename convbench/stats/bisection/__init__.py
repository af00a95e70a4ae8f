"""Search for the first member of an ordered series that differs from those before it, certain or noisy."""
