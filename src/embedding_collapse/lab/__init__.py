"""Who trains: the paper's models on the paper's data or on one's own; every run has its record."""
