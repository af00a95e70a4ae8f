"""Pages of HTML: one file each, without scripts, with every label escaped."""
