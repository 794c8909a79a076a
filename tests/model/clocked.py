"""`runlog` under a clock that a file sets: how many microseconds the present is ahead of the machine's.

python -m tests.model.clocked FILE serve --data-dir D
"""

import sys
import time
from pathlib import Path

from api.cli.__main__ import main
from eventlog.clock import SystemClock


def now_us(_clock: SystemClock) -> int:
    """The present as the file has it; one that is not there says that the machine is right."""
    try:
        ahead_us = int(FILE.read_text())
    except FileNotFoundError:
        ahead_us = 0
    return time.time_ns() // 1000 + ahead_us


if __name__ == "__main__":
    FILE = Path(sys.argv.pop(1))
    SystemClock.now_us = now_us  # type: ignore[method-assign]
    main()
