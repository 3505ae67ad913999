"""What runs say: sentences, tables and comparisons, each computed from records."""
