"""The pages of jobs, models and rounds: what they say, that they follow, and that what they show stays text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import click
import httpx
import pytest
from playwright.sync_api import Page, expect

from honed.cli import main
from honed.jobs.events import Begun, Metric, Note, Step
from honed.rounds.outcome import SuiteOutcome
from honed.store.workspace import Workspace
from tests.house.tree import ROOT
from tests.web.site import Site, add_job, add_model, add_round, furnish, serving, take_steps

MARKUP = "<script>document.title='broken in'</script><b>bold</b>"


@pytest.fixture
def site(workspace: Workspace) -> Iterator[Site]:
    with serving(workspace, {"echo@v1": lambda prompt, _: prompt[-1].content}) as site:
        yield site


def _points(page: Page) -> list[int]:
    """The steps that the curve shows."""
    steps: list[int] = page.evaluate("document.getElementById('plot').data?.[0]?.x ?? []")
    return steps


def _wait_for_step(page: Page, step: int) -> None:
    page.wait_for_function("step => document.getElementById('plot').data?.[0]?.x.at(-1) === step", arg=step)


def test_a_running_jobs_curve_grows_and_a_reload_shows_the_same(page: Page, site: Site) -> None:
    job = add_job(site.workspace, state="running", steps=12, total=40)
    with job.held():
        page.goto(f"{site.url}/jobs/{job.id}")
        _wait_for_step(page, 12)
        take_steps(job, 13, 20, 40)
        _wait_for_step(page, 20)
        expect(page.get_by_text("20 of 40")).to_be_visible()
        before = _points(page)
        page.reload()
        _wait_for_step(page, 20)
        assert _points(page) == before == list(range(1, 21))
        page.get_by_role("button", name="tokens/s").click()
        expect(page.locator("#curve-title")).to_have_text("Tokens/s")
        assert page.evaluate("document.getElementById('plot').data[0].y[0]") > 200


def test_steps_that_a_resume_did_again_count_once(page: Page, site: Site) -> None:
    job = add_job(site.workspace, state="running", steps=12, total=40)
    with job.held():
        page.goto(f"{site.url}/jobs/{job.id}")
        _wait_for_step(page, 12)
        job.log.write(Step(stage="train", step=9, total=40, values={"loss": 5.0}))
        page.wait_for_function("() => document.getElementById('plot').data[0].y[8] === 5")
        assert _points(page) == list(range(1, 13))


def test_the_time_between_two_attempts_is_not_that_of_a_step(page: Page, site: Site) -> None:
    job = add_job(site.workspace, state="running", steps=0, total=0)
    for step in (1, 2):
        job.log.write(Step(stage="train", step=step, total=10, time=float(step)))
    job.log.write(Begun(attempt=2, time=7000.0))
    job.log.write(Step(stage="train", step=3, total=10, time=7100.0))
    with job.held():
        page.goto(f"{site.url}/jobs/{job.id}")
        expect(page.get_by_text("3 of 10", exact=True)).to_be_visible()
        job.log.write(Step(stage="train", step=4, total=10, time=7101.0))
        expect(page.get_by_text("4 of 10, about 6 s left")).to_be_visible()


def test_a_rounds_jobs_have_curves_of_their_own(page: Page, site: Site) -> None:
    job = add_job(site.workspace, state="running", steps=0, total=0)
    with job.held():
        for step in (1, 2):
            job.log.write(Step(stage="sft: train", step=step, total=2, values={"loss": 3.0 - step}))
        job.log.write(Metric(name="sft heldout_loss", value=2.5, step=2))
        for step in (1, 2, 3):
            job.log.write(Step(stage="dpo: train", step=step, total=3, values={"loss": 0.69, "margin": 0.1 * step}))
        job.log.write(Metric(name="dpo heldout_loss", value=2.4, step=3))
        page.goto(f"{site.url}/jobs/{job.id}")
        _wait_for_step(page, 2)
        expect(page.locator("#curve-title")).to_have_text("Sft loss")
        names = "() => document.getElementById('plot').data.map(line => line.name)"
        assert page.evaluate(names) == ["each step", "running mean", "held out"]
        page.get_by_role("button", name="dpo loss").click()
        _wait_for_step(page, 3)
        assert page.evaluate(names) == ["each step", "running mean"], "nats a token have no place beside nats a pair"


def test_a_job_that_ends_shows_its_result(page: Page, site: Site) -> None:
    job = add_job(site.workspace, state="running", steps=3, total=4)
    with job.held():
        page.goto(f"{site.url}/jobs/{job.id}")
        expect(page.locator("#state")).to_contain_text("running")
        job.set_result({"model": "support@v7"})
        job.set_status(job.status().model_copy(update={"state": "done"}))
    expect(page.get_by_text("support@v7")).to_be_visible()
    expect(page.locator("#state")).to_contain_text("done")


def test_a_failed_job_says_why_and_what_to_do(page: Page, site: Site) -> None:
    job = add_job(site.workspace, state="failed", steps=3)
    job.set_status(job.status().model_copy(update={"message": "the disk is full", "hint": "Free space."}))
    (job.path / "log.txt").write_text("Traceback: the last line\n")
    page.goto(f"{site.url}/jobs/{job.id}")
    for words in ("the disk is full", "Free space.", f"honed jobs resume {job.id}", "Traceback: the last line"):
        expect(page.get_by_text(words)).to_be_visible()


def test_the_list_of_jobs_follows_them_by_itself(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/jobs")
    expect(page.get_by_text("No jobs yet")).to_be_visible()
    job = add_job(site.workspace, state="failed")
    expect(page.get_by_role("link", name=job.id)).to_be_visible()


def test_a_damaged_job_is_in_the_list_and_its_own_page_names_the_file(page: Page, site: Site) -> None:
    whole, damaged = add_job(site.workspace), add_job(site.workspace)
    (damaged.path / "status.json").write_bytes(b"")
    page.goto(f"{site.url}/jobs")
    expect(page.locator(f"#row-{whole.id}")).to_contain_text("done")
    expect(page.locator(f"#row-{damaged.id}")).to_contain_text("unreadable")
    for path in (f"jobs/{damaged.id}", f"api/jobs/{damaged.id}", f"api/jobs/{damaged.id}/events"):
        answer = httpx.get(f"{site.url}/{path}", headers={"accept": "text/html"})
        assert answer.status_code == 400 and "status.json: it is damaged" in answer.text, path


def test_what_jobs_and_models_and_rounds_say_stays_text(page: Page, site: Site) -> None:
    job = add_job(site.workspace, steps=3)
    job.log.write(Note(text=MARKUP))
    job.set_status(job.status().model_copy(update={"message": MARKUP}))
    job.set_result({"model": MARKUP})
    model = add_model(site.workspace, "support", {"base": "00"}, remark=MARKUP)
    hollow = SuiteOutcome(
        name=MARKUP, data="d", role="keep", n=0, before=None, after=None, difference=None, interval=None,
        p_value=None, won=0, lost=0, verdict="too few", reason=MARKUP,
    )  # fmt: skip
    round_ = add_round(
        site.workspace, "r", model.ref, None, verdict="held", reasons=(MARKUP,), suites=(hollow,), jobs={}
    )
    for path in (f"jobs/{job.id}", "jobs", f"models/{model.ref}", "models", f"rounds/{round_.ref}", "rounds"):
        page.goto(f"{site.url}/{path}")
        expect(page.get_by_role("main")).to_be_visible()
        assert page.locator("main script").count() == 0
        assert "broken" not in page.title()
        if path not in ("models",):
            expect(page.get_by_text("<b>bold</b>").first).to_be_visible()


def test_a_promoted_and_a_held_round_show_their_verdicts_and_numbers(page: Page, site: Site) -> None:
    furnish(site.workspace)
    page.goto(f"{site.url}/rounds")
    page.get_by_role("link", name="support@v1").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Promoted: support@v2 became live")
    row = page.get_by_role("row").filter(has_text="house-rule").first
    for words in ("140 rows", "6 %", "72 %", "+66 points", "< 0.001", "pass"):
        expect(row).to_contain_text(
            words.replace(" %", "\u00a0%").replace(" points", "\u00a0points").replace("< ", "<\u00a0")
        )
    page.goto(f"{site.url}/rounds/support@v2")
    expect(page.get_by_role("heading", level=1)).to_have_text("Held: support@v2 stays live")
    expect(page.get_by_text("more than the 5 points that are allowed")).to_be_visible()


def test_the_live_model_is_marked_and_its_moves_are_told(page: Page, site: Site) -> None:
    furnish(site.workspace)
    page.goto(f"{site.url}/models")
    expect(page.get_by_role("row").filter(has=page.get_by_text("live", exact=True))).to_contain_text("support@v2")
    page.get_by_role("link", name="support@v2").click()
    expect(page.get_by_text("better on house-rule")).to_be_visible()
    expect(page.get_by_text("honed explain support@v2")).to_be_visible()


@pytest.mark.parametrize("path", ["jobs", "models", "rounds"])
def test_an_empty_list_names_the_command_that_fills_it(page: Page, site: Site, path: str) -> None:
    page.goto(f"{site.url}/{path}")
    expect(page.locator("pre.commands")).to_contain_text("honed ")


@pytest.mark.parametrize("path", ["jobs/zebra", "models/zebra", "rounds/zebra", "zebra"])
def test_what_is_not_there_is_a_page_for_people_and_json_for_programs(site: Site, path: str) -> None:
    seen = httpx.get(f"{site.url}/{path}", headers={"Accept": "text/html"})
    assert (seen.status_code, seen.headers["content-type"]) == (404, "text/html; charset=utf-8")
    read = httpx.get(f"{site.url}/api/{path}", headers={"Accept": "text/html"})
    assert read.status_code == 404
    assert read.json()["error"]["message"]


def test_the_api_says_what_the_pages_say(site: Site) -> None:
    furnish(site.workspace)
    (job,) = httpx.get(f"{site.url}/api/jobs").json()["jobs"]
    assert httpx.get(f"{site.url}/api/jobs/{job['id']}").json()["result"]["model"] == "support@v1"
    models = {model["ref"]: model for model in httpx.get(f"{site.url}/api/models").json()["models"]}
    assert models["support@v2"]["aliases"] == ["live"]
    live = httpx.get(f"{site.url}/api/models/live").json()
    assert (live["ref"], live["children"]) == ("support@v2", ["support@v3"])
    assert [move["model"] for move in live["moves"]] == ["support@v2"]
    rounds = httpx.get(f"{site.url}/api/rounds").json()["rounds"]
    assert {round_["ref"]: round_["verdict"] for round_ in rounds} == {"support@v1": "promoted", "support@v2": "held"}
    assert httpx.get(f"{site.url}/api/rounds/support@v1").json()["candidate"] == "support@v2"


def _events(site: Site, job_id: str, last: str = "0") -> list[str]:
    got = httpx.get(f"{site.url}/api/jobs/{job_id}/events", headers={"Last-Event-ID": last})
    return got.text.split("\n\n")


def test_a_stream_of_events_goes_on_from_where_it_was(site: Site) -> None:
    job = add_job(site.workspace, steps=3)
    first, end, _ = _events(site, job.id)
    place, data = first.split("\n")
    assert [event["type"] for event in json.loads(data.removeprefix("data: "))].count("step") == 3
    assert end.startswith("event: end")
    assert _events(site, job.id, place.removeprefix("id: ")) == [end, ""]
    refused = httpx.get(f"{site.url}/api/jobs/{job.id}/events", headers={"Last-Event-ID": "-5"})
    assert refused.status_code == 400


def test_every_command_that_a_page_recommends_is_there() -> None:
    files = [path for folder in ("templates", "static") for path in (ROOT / "honed" / "web" / folder).iterdir()]
    texts = [path.read_text() for path in files if path.suffix in (".html", ".js") and ".min." not in path.name]
    said = {words for text in texts for words in re.findall(r"[\"`>\n]honed ([a-z-]+)(?: ([a-z]+)\b)?", text)}
    assert len(said) > 5
    for first, second in said:
        command = main.cli.get_command(click.Context(main.cli), first)
        assert command is not None, first
        assert not isinstance(command, click.Group) or second in command.commands, f"{first} {second}"


def test_only_files_of_the_package_are_served(site: Site) -> None:
    for path in ("../render.py", "%2e%2e/render.py", "..%2frender.py", "zebra.js", ""):
        assert httpx.get(f"{site.url}/static/{path}").status_code == 404
    for name in ("honed.css", "chat.js", "htmx.min.js", "plotly.min.js", "mark.svg"):
        assert httpx.get(f"{site.url}/static/{name}").status_code == 200


def test_no_page_loads_anything_from_elsewhere(page: Page, site: Site) -> None:
    furnish(site.workspace)
    job = add_job(site.workspace, steps=20)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for path in ("", "jobs", f"jobs/{job.id}", "models", "rounds", "rounds/support@v1"):
        page.goto(f"{site.url}/{path}")
    _ = page.goto(f"{site.url}/jobs/{job.id}")
    _wait_for_step(page, 20)
    assert [url for url in asked if not url.startswith(site.url)] == []
