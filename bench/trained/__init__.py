"""What a finished run has trained, put to use: exported, talked to, or trained on."""
