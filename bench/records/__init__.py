"""Records: what one run measured, written once and read by everything else. Standard library and platformdirs only."""
