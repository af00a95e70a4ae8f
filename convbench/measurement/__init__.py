"""How fast? Worker processes, rounds that interleave them, samples and their statistics."""
