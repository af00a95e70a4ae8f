"""This machine: what it is, the state it is in, and what it uses, as the system reports it."""
