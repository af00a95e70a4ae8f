"""The backends that come with convbench, one file per library. `BACKENDS` is each file's only export."""
