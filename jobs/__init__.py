"""Nightlift's jobs: one file a task, and the packages they are made of."""

__version__ = "0.1.0"
