"""What this machine can do at most: multiply-adds in registers, matrix products, bytes moved from each cache."""
