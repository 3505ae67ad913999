"""One module per chapter: its tables, figures and numbers, in the order of the page."""
