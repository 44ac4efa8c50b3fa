"""Trace a training: the harness's own code runs on tensors without content, and what it would allocate is noted.

This is the child's side of `bench.advise`, which needs torch.
"""
