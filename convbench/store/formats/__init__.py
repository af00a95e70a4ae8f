"""Records in other programs' files: CSV, Parquet and JSON lines in and out, pyperf's JSON out."""
