"""Dense Adam with weight decay on embedding tables, without streaming the tables at every step."""

from .look_ups import LookUps, group_look_ups
from .optimizer import ExactBlockedAdam, kernels_run_on

__all__ = ["ExactBlockedAdam", "LookUps", "group_look_ups", "kernels_run_on"]
