"""Fine-tuning methods, one file each; README.md says how to write one."""
