"""What `convbench show` prints of a case and of a problem."""
