"""Launching: which runs are due, one child process for each, and a record whatever becomes of it. No torch here."""

from bench.launch.sweep import launch

__all__ = ["launch"]
