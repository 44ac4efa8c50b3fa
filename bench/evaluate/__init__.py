"""Evaluation: loss, task metrics with per-example outcomes, generation, forgetting."""
