"""Witnesses: a second machine signs what this log signs, if it continues what that machine saw before."""
