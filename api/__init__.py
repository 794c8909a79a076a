"""Every way in: HTTP, pages, the command line, the migration; settings and wiring live here."""
