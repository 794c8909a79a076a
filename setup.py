"""What pyproject.toml cannot say: a wheel carries the commit that it was made from, for `runlog --version`."""

import subprocess
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithCommit(build_py):
    """Builds the packages, and notes the commit in them; an editable install asks its checkout each time."""

    def run(self) -> None:
        """Build."""
        super().run()
        if not self.editable_mode:
            noted = Path(self.build_lib, "api", "commit")
            noted.unlink(missing_ok=True)  # what an earlier build left
            if commit := _commit():
                noted.write_text(commit + "\n")


def _commit() -> str:
    here = Path(__file__).resolve().parent
    if not (here / ".git").exists():
        return ""
    # Root, who installs, mostly does not own the checkout.
    asked = ["git", "-c", "safe.directory=*", "-C", str(here), "rev-parse", "--short=12", "HEAD"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


setup(cmdclass={"build_py": BuildWithCommit})
