"""A branch on a fleet: a wheel of this checkout in a fresh virtual environment on each machine, for one command."""
