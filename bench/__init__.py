"""tunebench: compare ways of fine-tuning a language model under one train and evaluation loop."""

__version__ = "0.1.0"
