"""Acting on a plan: `convbench.conv2d` and `Conv2d` compute as it says, and `convbench.apply` changes a model."""
