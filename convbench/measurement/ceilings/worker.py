"""The process that measures ceilings with a number of threads, each on a CPU of its own where the system allows that.

Run by `JsonChild` with `{"threads": 2, "seconds": 0.3}`. It sends `{"step": "..."}` as it goes on and at last
`{"result": {...}}`, fields of `Ceilings`; with `"only": "reading"` bytes per second that are read, by level; with
`"further": "AMX tiles, int8"` the figure of that multiply-add, which is alone because its instructions may end the
process.
"""

from __future__ import annotations

import os

from convbench.measurement.machine.topology import fastest_cpus
from convbench.measurement.workers.json_child import read_request, send_message


def main() -> None:
    request = read_request()
    threads = int(request["threads"])
    cpus = fastest_cpus(threads)
    if cpus is not None:
        os.sched_setaffinity(0, cpus)
    # Imported only now, because a library that starts threads when imported starts them on the process's CPUs.
    from convbench.measurement.ceilings.measurement import Measurement

    measurement = Measurement(threads, cpus, float(request["seconds"]), lambda step: send_message(step=step))
    if "further" in request:
        send_message(result=measurement.further(str(request["further"])))
    elif request.get("only") == "reading":
        send_message(result=measurement.reading())
    else:
        send_message(result=measurement.everything())


if __name__ == "__main__":
    main()
