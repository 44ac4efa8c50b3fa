"""Reports: tables and statistics as pure functions of records. No torch, no Hydra: any laptop reads results."""
