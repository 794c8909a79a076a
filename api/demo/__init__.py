"""Plausible runs for a newcomer to look at; nothing of the service needs them."""
