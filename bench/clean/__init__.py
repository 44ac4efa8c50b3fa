"""`tunebench data`: look at data, clean it, write it in another format."""
