"""The reader's wing: what the chapters show, made from the records of runs."""

from .injected import guard

guard()
