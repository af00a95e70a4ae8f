"""The worker of an environment that was shipped: it ends with the worker that started it, and leaves nothing."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading

from convbench.errors import ConvbenchError
from convbench.fleet.cluster.worker import work_for


def main() -> None:
    """Offer this machine under the resource and the name on the command line, until the end of the input."""
    folder, address, announced, name = sys.argv[1:]
    threading.Thread(target=_interrupt_at_end_of_input, daemon=True).start()
    try:
        # The worker that started this one speaks with the same scheduler in the same way.
        work_for(address, insecure=True, resources={announced: 1}, name=name)
    except KeyboardInterrupt:
        pass
    except ConvbenchError as error:
        sys.exit(str(error))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _interrupt_at_end_of_input() -> None:
    while sys.stdin.buffer.read(1024):
        pass
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    main()
