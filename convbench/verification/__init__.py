"""Is it right? The reference, the data it is asked on, the bounds, and the verdict."""
