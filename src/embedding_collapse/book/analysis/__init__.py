"""From records to comparisons, intervals and verdicts; knows nothing of pages."""
