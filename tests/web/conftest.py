"""A browser for the module, and a site for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from honed.models.engine import Sampling
from honed.records import Message
from honed.store.workspace import Workspace
from tests.needs import missing
from tests.web.site import Site, serving

CHROMIUM = shutil.which("chromium") or ""
# Every window would load pages for an address bar that nobody sees, and start a process for a page that may come: half
# of what the browser computes. Of several such flags the last one holds, so those of Playwright stand here again.
UNUSED = [
    *("WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "WebUIOmniboxFullPopup", "SpareRendererForSitePerProcess"),
    *("AvoidUnnecessaryBeforeUnloadCheckSync", "DestroyProfileOnBrowserClose", "HttpsUpgrades", "LensOverlay"),
    *("HttpsFirstBalancedModeAutoEnable", "MediaRouter", "PaintHolding", "ThirdPartyStoragePartitioning"),
    *("OptimizationHints", "NetworkTimeServiceQuerying", "AimEnabled", "PreconnectToSearch"),
]
FLAGS = [
    f"--disable-features={','.join(UNUSED)}",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SEGMENTS = {"audience": ["beginner", "expert"]}


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if not CHROMIUM:
        missing("the browser", "chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A new person's page. Whatever the browser complains of fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 860}, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(30_000)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    yield page
    context.close()
    assert [text for text in complaints if "Failed to load resource" not in text] == []


def echo(prompt: Sequence[Message], sampling: Sampling) -> str:
    return f"You said: {prompt[-1].content}"


def shout(prompt: Sequence[Message], sampling: Sampling) -> str:
    return f"YOU SAID: {prompt[-1].content.upper()}"


@pytest.fixture
def site(workspace: Workspace) -> Iterator[Site]:
    with serving(workspace, {"echo@v1": echo, "shout@v1": shout}, segments=SEGMENTS) as site:
        yield site
