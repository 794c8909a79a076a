"""Values as people read them. Pure."""

from typing import Any

from eventlog.canonical import canonical, pretty

CHARACTERS_MAX = 60_000
"""So much of one value is shown; all of it is in the download."""
_CONTROLS = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {0x7F: 0x2421}


def plain(value: Any) -> str:
    """Return *value* as text; null is `---`, a control character its picture."""
    if value is None:
        return "---"
    text = value if isinstance(value, str) else canonical(value).decode()
    return text.translate(_CONTROLS)


def cut(value: Any, characters_max: int = 400) -> str:
    """Return the beginning of *value* as text, saying how much is left out."""
    text = plain(value)
    if len(text) <= characters_max:
        return text
    return f"{text[:characters_max]}… ({len(text):,} characters)"


def formatted(value: Any) -> str:
    """Return *value* as indented JSON, its beginning where it is long."""
    text = pretty(value).decode().translate(_CONTROLS)
    if len(text) <= CHARACTERS_MAX:
        return text
    return f"{text[:CHARACTERS_MAX]}\n… ({len(text):,} characters; all of it is in the download)"


def second(time: str) -> str:
    """Return an RFC 3339 UTC *time* to the second: `2026-01-05 05:07:16`."""
    return f"{time[:10]} {time[11:19]}"


def size(count: int) -> str:
    """Return *count* bytes in the unit that suits them."""
    amount = float(count)
    for unit in ("bytes", "KiB", "MiB"):
        if amount < 1024:
            return f"{count:,} bytes" if unit == "bytes" else f"{amount:,.1f} {unit}"
        amount /= 1024
    return f"{amount:,.1f} GiB"


FILTERS = {"plain": plain, "cut": cut, "formatted": formatted, "second": second, "bytes": size}
