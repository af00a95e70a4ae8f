"""Choosing a backend: the question, the race or the records that answer it, and the plan."""
