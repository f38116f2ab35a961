"""Takes the screenshots of the documents: ``python -m tests.web.screenshots [FOLDER [WORKSPACE]]``.

FOLDER is docs/images by default. Answers and numbers are samples, and who shows the pictures has to say so. With a
WORKSPACE, only round.png is taken, of the newest round that really ran in it.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from honed.models.engine import Sampling
from honed.records import Message
from honed.rounds import outcome
from honed.store import workspace as workspaces
from honed.store.workspace import Workspace
from tests.web.conftest import CHROMIUM, FLAGS
from tests.web.site import Site, furnish, serving

QUESTION = "How much is the small water pump, and how long does delivery take?"


def later(prompt: Sequence[Message], sampling: Sampling) -> str:
    return (
        "The small water pump costs €48.00. Delivery within the country takes two to three working days; we send you "
        "a tracking number as soon as the parcel leaves our warehouse.\n\nAnything else? Just ask, we are glad to help."
    )


def earlier(prompt: Sequence[Message], sampling: Sampling) -> str:
    return (
        "The small water pump is available at a price of 48 euros. The delivery time depends on many factors. Please "
        "check the website for more information about delivery times and prices."
    )


def chat(page: Page, url: str) -> None:
    page.goto(url)
    page.get_by_role("button", name="Yes, use them").click()
    page.get_by_label("Your message").fill(QUESTION)
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Good", exact=True).click()
    page.get_by_text("Saved. Thank you.").wait_for()


def compare(page: Page, url: str) -> None:
    page.goto(url)
    page.get_by_role("button", name="Yes, use them").click()
    page.get_by_role("switch", name="Compare two").check()
    page.get_by_label("Your message").fill(QUESTION)
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Answer A is better").wait_for()


def photograph(site: Site, browser: Browser, folder: Path, ref: str) -> None:
    """Write round.png, of the round ``ref``."""
    page = browser.new_page(viewport={"width": 1280, "height": 980})
    page.goto(f"{site.url}/rounds/{ref}")
    page.screenshot(path=folder / "round.png")
    page.close()


def sample(browser: Browser, folder: Path) -> None:
    """Write chat.png, ab.png and round.png over a workspace of invented content."""
    with tempfile.TemporaryDirectory() as scratch:
        workspace = workspaces.init(Path(scratch) / "workspace")
        furnish(workspace)
        segments = {"audience": ["beginner", "expert"]}
        with serving(workspace, {"support@v2": later, "support@v1": earlier}, segments=segments) as site:
            for name, act in (("chat", chat), ("ab", compare)):
                context = browser.new_context(viewport={"width": 1280, "height": 720}, reduced_motion="reduce")
                page = context.new_page()
                act(page, site.url)
                page.screenshot(path=folder / f"{name}.png")
                context.close()
            photograph(site, browser, folder, "support@v1")


def real(browser: Browser, folder: Path, workspace: Workspace) -> None:
    """Write round.png, of the newest round of ``workspace``."""
    newest = outcome.listing(workspace)[-1]
    with serving(workspace, {"none": later}) as site:
        photograph(site, browser, folder, newest.ref)


def main(folder: Path, workspace: Path | None) -> None:
    """Write the pictures into ``folder``."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        if workspace:
            real(browser, folder, workspaces.open_at(workspace))
        else:
            sample(browser, folder)
        browser.close()


if __name__ == "__main__":
    given = [Path(word) for word in sys.argv[1:]]
    main(given[0] if given else Path(__file__).parents[2] / "docs" / "images", given[1] if len(given) > 1 else None)
