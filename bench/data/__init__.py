"""Data: where text comes from, the tasks made of it, and how it is tokenised and batched."""
