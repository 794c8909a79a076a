"""Evidence that leaves the house: what an auditor can check offline, years later, without trusting this service."""
