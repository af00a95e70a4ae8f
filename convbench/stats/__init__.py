"""Statistics: arrays and numbers in, estimates and verdicts out. Nothing here knows what was measured."""
