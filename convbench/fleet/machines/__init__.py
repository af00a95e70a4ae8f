"""The machines that are reached: what each is, and how they differ."""
