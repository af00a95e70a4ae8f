"""A verification on many machines: which asks what, and what their answers come to together."""
