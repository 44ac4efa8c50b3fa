"""Training: one loop for every method, the objectives that plug into it, and what is measured of its steps."""
