"""What goes wrong, and what comes of it: the parts of `benchmarks/faults.py`."""
