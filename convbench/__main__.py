"""`python -m convbench`: the command line."""

from convbench.cli.main import main

if __name__ == "__main__":
    main()
