"""Backends of other interpreters, and past releases of a library."""
