"""The command line: options, help, and a few lines of glue per command. Heavy imports stay inside the functions."""
