"""`convbench bisect`: which release, or commit, made an answer wrong or a convolution slower."""
