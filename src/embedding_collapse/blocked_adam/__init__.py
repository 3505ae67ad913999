"""Dense Adam with weight decay on embedding tables, without streaming the tables at every step."""

from .optimizer import ExactBlockedAdam, triton_is_installed
from .plan import Plan, plan

__all__ = ["ExactBlockedAdam", "Plan", "plan", "triton_is_installed"]
