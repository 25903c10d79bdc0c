"""Headless Chromium for tests: pages that collect everything the browser complains about."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

from tests.servers import ROOT, TIMEOUT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["ARTIFACTS", "Complaints", "find_chromium", "run_chromium", "save_screenshot", "watch"]

# Where screenshots are kept; not committed.
ARTIFACTS = ROOT / "artifacts" / "browser"

# The first has no windows: opening a page costs it a fifth of what it costs the others.
CHROMIUM_NAMES = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)

# What the browser would fetch from elsewhere, show in menus that nobody sees, or do with a page before it is drawn.
UNWANTED_FEATURES = [
    "AimEnabled",
    "HttpsUpgrades",
    "LensOverlay",
    "MediaRouter",
    "OptimizationHints",
    "PaintHolding",
    "WebUIOmniboxAimPopup",
    "WebUIOmniboxPopup",
]
# The browser must not try to reach anything but the site under test.
CHROMIUM_FLAGS = [
    "--disable-background-networking",
    "--disable-component-update",
    f"--disable-features={','.join(UNWANTED_FEATURES)}",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]

REPORT_CSP = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP report: ${event.violatedDirective} blocked ${event.blockedURI || "inline"}`));
"""


@dataclass
class Complaints:
    """What a page's console, script errors and Content-Security-Policy had to say."""

    # In the order in which they came, as text.
    found: list[str] = field(default_factory=list)
    # What a test expects; such complaints are no failure.
    allowed: list[re.Pattern[str]] = field(default_factory=list)

    def allow(self, pattern: str) -> None:
        """Expect complaints that match, such as refused connections while a server is down."""
        self.allowed.append(re.compile(pattern))

    @property
    def unexpected(self) -> list[str]:
        """The complaints that nobody expected."""
        return [text for text in self.found if not any(one.search(text) for one in self.allowed)]


def find_chromium() -> str:
    """Find a Chromium on this machine.

    Raises:
        FileNotFoundError: None is installed.
    """
    for name in CHROMIUM_NAMES:
        path = shutil.which(name)
        if path:
            return path
    raise FileNotFoundError(
        "No Chromium is installed; the browser tests need it. Run: apt-get install chromium"
    )


@contextmanager
def run_chromium() -> Iterator[Browser]:
    """Run a browser until the block ends."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def watch(page: Page, complaints: Complaints) -> None:
    """Collect what a page complains about, and give its waits the rig's one timeout."""
    page.set_default_timeout(TIMEOUT * 1000)
    page.add_init_script(REPORT_CSP)
    page.on("pageerror", lambda error: complaints.found.append(f"{page.url}: {error}"))
    page.on(
        "console",
        lambda message: (
            complaints.found.append(f"{page.url}: {message.text}")
            if message.type in {"error", "warning"}
            else None
        ),
    )


def save_screenshot(page: Page, name: str) -> Path:
    """Keep a picture of a page under `artifacts/browser/`."""
    path = ARTIFACTS / f"{name}.png"
    page.screenshot(path=path)
    return path
