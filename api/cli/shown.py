"""Text of others on a terminal: what a run, a file name or a server says is shown, and never acts on the screen. Pure."""


def shown(text: str) -> str:
    """Return *text* with every character that prints nothing (a line break too, or one that turns the direction) written out as `\\x1b`."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
