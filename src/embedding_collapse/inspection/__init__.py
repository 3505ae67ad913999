"""Anyone's checkpoint: the tensors in a file, the tables among them, and the collapse report."""
