"""Processes that run untrusted backends: messages, shared arrays, their environment, and the pool of them."""
