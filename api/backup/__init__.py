"""Copies of a data directory that can be taken while it is written to, and put back."""
