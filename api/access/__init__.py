"""Who may do what: keys, their roles, signed-in sessions, and how much of it in a while."""
