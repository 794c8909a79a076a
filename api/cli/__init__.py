"""The command `runlog`. A module here imports what is heavy inside its functions, so that `--help` is quick."""
