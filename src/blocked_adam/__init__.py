"""Dense Adam with weight decay on embedding tables, without streaming the tables at every step."""

from .choice import kernels_run_on, numba_runs
from .look_ups import LookUps, group_look_ups
from .optimizer import Adam, ExactBlockedAdam
from .threads import on_all_threads

__all__ = [
    "Adam",
    "ExactBlockedAdam",
    "LookUps",
    "group_look_ups",
    "kernels_run_on",
    "numba_runs",
    "on_all_threads",
]
