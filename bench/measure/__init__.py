"""Measuring: memory by phase, the time of steps, and the machine that it was all done on."""
