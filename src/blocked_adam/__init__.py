"""Dense Adam with weight decay on embedding tables, without streaming the tables at every step."""

from .optimizer import ExactBlockedAdam, kernels_run_on
from .plan import Plan, plan

__all__ = ["ExactBlockedAdam", "Plan", "kernels_run_on", "plan"]
