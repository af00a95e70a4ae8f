"""How a person sees it: the command line, the terminal."""
