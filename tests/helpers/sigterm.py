"""Run Snakemake with the given arguments, and send it SIGTERM while its scheduler holds its lock.

If Snakemake answers in its main thread, as it does by itself, it then waits for ever.
"""

import os
import signal
import sys
import time

from snakemake.cli import main
from snakemake.scheduling.job_scheduler import JobScheduler

schedule = JobScheduler.schedule


def schedule_after_sigterm(scheduler: JobScheduler) -> bool:
    with scheduler._lock:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)
    return schedule(scheduler)


JobScheduler.schedule = schedule_after_sigterm
main(sys.argv[1:])
