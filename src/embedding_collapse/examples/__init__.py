"""A model as a reader may have one, before and after it is given several embedding sets."""
