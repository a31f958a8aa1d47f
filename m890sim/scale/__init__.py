"""Jobs in processes of this machine or on a cluster, with the results of one worker."""

from m890sim.scale.jobs import run_jobs

__all__ = ["run_jobs"]
