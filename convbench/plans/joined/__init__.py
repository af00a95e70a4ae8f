"""Layers of a torch model together with what is joined to them: batch norms, activations and residual sums."""
