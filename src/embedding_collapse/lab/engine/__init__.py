"""How a training step is taken: plainly, or captured and checked against the plain step."""
