"""The time of a layer that was never measured, predicted from measured layers that are like it."""
