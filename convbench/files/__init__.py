"""Files on disk: those that a user names, locks between processes, and scratch folders."""
