"""Many machines by Dask, which is imported where a command needs it: their inventory, tasks, and what comes back."""
