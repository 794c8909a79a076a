"""A real browser that looks at the pages of a real server, and minds what a person would mind.

Whatever a test does on a page: no error may stand in the console, nothing may be refused by the policy.
"""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from tests.server import Server

Scheme = Literal["light", "dark"]
AXE = Path(__file__).with_name("axe.min.js").read_text("utf-8")
CHROMIUM = shutil.which("chromium")
TALL_PIXELS_MAX = 4000
"""Of a page above this only the beginning is pictured: the rest takes seconds to paint."""
LONG_S = 60
"""How long what is soon there may take on a machine that has much else to do (seconds)."""
expect.set_options(timeout=LONG_S * 1000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium.

    Never longer than a module: while it is there the thread has an event loop that runs, and no other test may have one.
    """
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (on Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"] if os.geteuid() == 0 else [], timeout=LONG_S * 1000
        )
        yield started
        started.close()


class Reader:
    """A person at a browser: opens pages of one server, and keeps a note of everything that was wrong."""

    def __init__(self, browser: Browser, server: Server, folder: Path) -> None:
        self.server, self.folder = server, folder
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self.complaints: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def open(self, path: str, *, status: int = 200, **context: Any) -> Page:
        """Open *path* in a window of its own; *context* is what `Browser.new_context` takes."""
        window = self._browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
        window.set_default_timeout(LONG_S * 1000)
        window.set_default_navigation_timeout(LONG_S * 1000)
        self._contexts.append(window)
        page = window.new_page()
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))
        answer = page.goto(self.address + path)
        assert answer is not None
        assert answer.status == status, f"{path}: {answer.status}"
        return page

    def look(self, page: Page, name: str, *, schemes: Sequence[Scheme] = ("light", "dark")) -> None:
        """Look at *page* wide and narrow, light and dark: it fits, and axe finds nothing. The pictures are kept."""
        if not page.evaluate("'axe' in window"):
            page.evaluate(AXE)  # by the debugger, which no policy of a page concerns
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 900})
            for scheme in schemes:
                page.emulate_media(color_scheme=scheme)
                where = f"{name}-{width}-{scheme}"
                wide, tall = page.evaluate(
                    "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
                )
                page.screenshot(path=self.folder / f"{where}.png", full_page=tall <= TALL_PIXELS_MAX)
                assert wide <= width, f"{where}: it is {wide} pixels wide"
                found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
                assert not found, f"{where}: {json.dumps(_told(found), indent=1)}"

    def close(self) -> None:
        for window in self._contexts:
            window.close()

    def _heard(self, message: ConsoleMessage) -> None:
        # That a page which says 404 was answered with 404 is no news.
        is_own_answer = message.text.startswith("Failed to load resource") and "/rmos" in message.location["url"]
        if message.type in ("error", "warning") and not is_own_answer:
            self.complaints.append(f"{message.type}: {message.text}")


def _told(violations: list[dict[str, Any]]) -> list[Any]:
    return [
        (one["id"], one["help"], [(node["html"][:200], node["failureSummary"][:300]) for node in one["nodes"][:3]])
        for one in violations
    ]


@pytest.fixture
def reader(browser: Browser, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """A person who reads the pages of the module's server."""
    folder = tmp_path_factory.getbasetemp() / "pages"
    folder.mkdir(exist_ok=True)
    reading = Reader(browser, server, folder)
    yield reading
    reading.close()
    assert reading.complaints == []
