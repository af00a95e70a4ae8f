"""`python -m convbench`, and the command `convbench`: an interrupt ends it silently with 130, from the first line on.

Python shows a traceback for an interrupt while it imports, and a library's module that is interrupted while it is
initialised raises anything or nothing. So an interrupt ends the process at once while there is nothing to keep.
"""

import os


def run() -> None:
    """The program, with its own answer to Ctrl-C. Where a shell has it ignore Ctrl-C, it goes on doing so."""
    try:
        import signal

        is_heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if is_heeded:
            signal.signal(signal.SIGINT, lambda *_: os._exit(130))
        from convbench.cli.main import exit_code
        from convbench.runner.interrupts import interrupt

        if is_heeded:
            signal.signal(signal.SIGINT, interrupt)
        code = exit_code()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the answer is given
    except KeyboardInterrupt:
        os._exit(130)
    raise SystemExit(code)


if __name__ == "__main__":
    run()
