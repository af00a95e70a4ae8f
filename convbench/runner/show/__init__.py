"""`convbench show`: what a name stands for, the past of a case, and what is known of a problem."""
