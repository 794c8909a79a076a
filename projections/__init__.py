"""What the events mean: the run, and every read model. Imports `eventlog`, never `api`."""
