"""`convbench compare --confirm`: what seems slower is measured again before it is called slower."""
