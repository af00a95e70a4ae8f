"""The suites that come with convbench: TOML files of problems, read by `convbench.suite`."""
