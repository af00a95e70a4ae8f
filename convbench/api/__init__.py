"""The Python API: one function for each command, whose results are values that print as the command does."""
