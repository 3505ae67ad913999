"""The collapse report of anyone's checkpoint: in the terminal, as JSON, and as one HTML page."""

from .inspection import Inspection, advice, inspect, table
from .page import html

__all__ = ["Inspection", "advice", "html", "inspect", "table"]
