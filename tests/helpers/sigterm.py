"""Run Snakemake with the arguments given, and send it SIGTERM while its scheduler holds its lock.

The signal may come at any moment, and at this one its answer would wait for ever.
"""

import os
import signal
import sys
import time

from snakemake.cli import main
from snakemake.scheduling.job_scheduler import JobScheduler

schedule = JobScheduler.schedule


def stopped_at_the_worst_moment(scheduler: JobScheduler) -> bool:
    with scheduler._lock:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)
    return schedule(scheduler)


JobScheduler.schedule = stopped_at_the_worst_moment
main(sys.argv[1:])
