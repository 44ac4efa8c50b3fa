"""Base models: loading, quantising, and the small embedded one with its pre-training script."""
