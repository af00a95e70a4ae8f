"""The answer to a training step: several results, judged and sent as one row of numbers."""
