"""Seeded faults of epilogues: a correct activation and residual sum after a correct convolution, and deviations."""
