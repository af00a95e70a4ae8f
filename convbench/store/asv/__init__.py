"""asv's own files: written from records, for its pages and its command line."""
