"""JAX's private parts: what its backends share."""
