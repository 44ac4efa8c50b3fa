"""A method for tunebench, in a package of its own."""
