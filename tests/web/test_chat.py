"""The chat as a person meets it: in a real browser, against a real server."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from honed.records import FeedbackEvent, Interaction
from honed.store.workspace import Workspace
from tests.web.site import ENDLESS, PONDER, Site, serving


def ask(page: Page, words: str) -> None:
    page.get_by_label("Your message").fill(words)
    page.keyboard.press("Enter")


def click(where: Page | Locator, name: str) -> None:
    where.get_by_role("button", name=name, exact=True).click()


def answered(page: Page, words: str) -> None:
    """Wait for an answer that is whole: one that can be rated."""
    expect(
        page.get_by_role("region").filter(has_text=words).get_by_role("button", name="Good", exact=True)
    ).to_be_visible()


def stored(site: Site) -> list[Interaction]:
    return list(site.store.interactions())


def said(site: Site) -> list[FeedbackEvent]:
    return list(site.store.feedback())


def test_an_answer_arrives_and_is_stored_under_the_models_exact_version(page: Page, site: Site) -> None:
    page.goto(site.url)
    ask(page, "hello")
    answered(page, "You said: hello")
    (interaction,) = stored(site)
    assert (interaction.answer, interaction.model, interaction.finish) == ("You said: hello", "echo@v1", "stop")


def test_the_conversation_so_far_goes_with_every_question(page: Page, site: Site) -> None:
    page.goto(site.url)
    ask(page, "one")
    answered(page, "You said: one")
    ask(page, "two")
    answered(page, "You said: two")
    turns = [(turn.role, turn.content) for turn in stored(site)[-1].prompt]
    assert turns == [("user", "one"), ("assistant", "You said: one"), ("user", "two")]


def test_reasoning_is_folded_and_goes_with_no_question(page: Page, site: Site) -> None:
    page.goto(site.url)
    ask(page, PONDER)
    answered(page, f"You said: {PONDER}")
    thought = page.get_by_text("Let me think.")
    expect(thought).to_be_hidden()
    page.get_by_text("Reasoning", exact=True).click()
    expect(thought).to_be_visible()
    ask(page, "two")
    answered(page, "You said: two")
    assert [turn.content for turn in stored(site)[-1].prompt] == [PONDER, f"You said: {PONDER}", "two"]
    assert [one.answer for one in stored(site)] == [f"You said: {PONDER}", "You said: two"]


def test_a_new_chat_forgets_the_old_one(page: Page, site: Site) -> None:
    page.goto(site.url)
    ask(page, "one")
    answered(page, "You said: one")
    click(page, "New chat")
    expect(page.get_by_text("You said: one")).to_have_count(0)
    ask(page, "two")
    answered(page, "You said: two")
    assert [turn.content for turn in stored(site)[-1].prompt] == ["two"]


def test_settings_reach_the_model(page: Page, site: Site) -> None:
    page.goto(site.url)
    page.get_by_text("Settings").click()
    page.get_by_label("Instructions for the model").fill("Be brief.")
    page.get_by_label("Temperature").fill("0.4")
    page.get_by_label("Longest answer").fill("77")
    ask(page, "one")
    answered(page, "You said: one")
    ((prompt, sampling),) = site.engines["echo@v1"].seen
    assert (prompt[0].role, prompt[0].content) == ("system", "Be brief.")
    assert (sampling.temperature, sampling.max_tokens) == (0.4, 77)


def test_stop_ends_the_engines_work_and_what_came_is_kept(page: Page, site: Site) -> None:
    page.goto(site.url)
    ask(page, ENDLESS)
    expect(page.get_by_text(re.compile(r"1 2 3 4 5 6"))).to_be_visible()
    click(page, "Stop")
    expect(page.get_by_text("You stopped this answer, so it can't be rated.")).to_be_visible()
    page.wait_for_function("() => !document.getElementById('send').hidden")
    while not (found := stored(site)):
        page.wait_for_timeout(20)
    assert found[0].finish == "cancelled"
    assert found[0].answer.startswith("1 2 3 4 5 6")


def test_a_thumb_is_stored_at_once_and_its_reason_after_it(page: Page, site: Site) -> None:
    page.goto(site.url)
    ask(page, "hello")
    click(page, "Not good")
    expect(page.get_by_text("Saved. Thank you.")).to_be_visible()
    expect(page.get_by_role("button", name="Not good")).to_have_attribute("aria-pressed", "true")
    assert [(event.kind, event.good, event.reason) for event in said(site)] == [("thumb", False, "")]
    page.get_by_label("Why").fill("too short")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Saved with your reason.")).to_be_visible()
    assert [(event.good, event.reason) for event in said(site)] == [(False, ""), (False, "too short")]


def test_a_person_can_change_their_mind(page: Page, site: Site) -> None:
    page.goto(site.url)
    ask(page, "hello")
    click(page, "Good")
    expect(page.get_by_role("button", name="Good", exact=True)).to_have_attribute("aria-pressed", "true")
    click(page, "Not good")
    expect(page.get_by_role("button", name="Not good")).to_have_attribute("aria-pressed", "true")
    assert [event.good for event in said(site)] == [True, False]


def test_a_newcomer_rates_with_the_keyboard_alone(page: Page, site: Site) -> None:
    page.goto(site.url)
    page.keyboard.type("hello")  # the box has the focus from the start
    page.keyboard.press("Enter")
    answered(page, "You said: hello")
    for _ in range(20):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.classList.contains('up')"):
            break
    page.keyboard.press("Enter")
    expect(page.get_by_text("Saved. Thank you.")).to_be_visible()
    assert [event.good for event in said(site)] == [True]


def test_an_edit_replaces_the_answer_and_the_conversation_goes_on_from_it(page: Page, site: Site) -> None:
    page.goto(site.url)
    ask(page, "price?")
    click(page, "Write it better")
    page.get_by_label("A better answer").fill("It costs €48.00.")
    click(page, "Save the better answer")
    expect(page.get_by_text("in your words")).to_be_visible()
    expect(page.get_by_text("It costs €48.00.")).to_be_visible()
    (event,) = said(site)
    assert (event.kind, event.text, event.interaction) == ("edit", "It costs €48.00.", stored(site)[0].id)
    ask(page, "and two?")
    answered(page, "and two?")
    assert [turn.content for turn in stored(site)[-1].prompt] == ["price?", "It costs €48.00.", "and two?"]


def test_an_unchanged_edit_is_not_sent_and_escape_leaves_the_editor(page: Page, site: Site) -> None:
    page.goto(site.url)
    ask(page, "hello")
    click(page, "Write it better")
    click(page, "Save the better answer")
    expect(page.get_by_text("That is the same answer.")).to_be_visible()
    page.get_by_label("A better answer").press("Escape")
    expect(page.get_by_role("button", name="Good", exact=True)).to_be_visible()
    assert said(site) == []


def test_another_answer_is_another_interaction(page: Page, site: Site) -> None:
    page.goto(site.url)
    ask(page, "hello")
    answered(page, "You said: hello")
    click(page, "Try again")
    page.wait_for_function("() => !document.getElementById('send').hidden")
    answered(page, "You said: hello")
    first, second = stored(site)
    assert first.prompt == second.prompt
    assert first.id != second.id
    assert second.sampling["temperature"] > 0


def test_declared_attributes_are_stated_only_if_chosen(page: Page, site: Site) -> None:
    page.goto(site.url)
    ask(page, "one")
    answered(page, "You said: one")
    page.get_by_label("Audience").select_option("expert")
    ask(page, "two")
    answered(page, "You said: two")
    assert [dict(interaction.segments) for interaction in stored(site)] == [{}, {"audience": "expert"}]


def test_consent_is_asked_once_and_can_be_taken_back(page: Page, site: Site) -> None:
    page.goto(site.url)
    click(page, "Yes, use them")
    expect(page.get_by_text("Your ratings may train the next model.")).to_be_visible()
    page.reload()
    expect(page.get_by_text("Your ratings may train the next model.")).to_be_visible()
    expect(page.get_by_role("region", name="Consent")).to_be_hidden()
    click(page, "Don't allow it")
    expect(page.get_by_text("Your ratings train no model.")).to_be_visible()
    assert [consent.granted for consent in site.store.consents()] == [True, False]


def test_consent_and_ratings_are_of_the_same_person_and_another_browser_is_another(page: Page, site: Site) -> None:
    page.goto(site.url)
    click(page, "No, keep them out")
    ask(page, "hello")
    click(page, "Good")
    expect(page.get_by_text("Saved. Thank you.")).to_be_visible()
    page.context.clear_cookies()
    page.goto(site.url)
    ask(page, "hello")
    answered(page, "You said: hello")
    mine, other = stored(site)
    assert site.store.consent_of(mine.subject, "train") is False
    assert said(site)[0].subject == mine.subject != other.subject
    assert site.store.consent_of(other.subject, "train") is None


MARKUP = "<img src=x onerror=\"document.title='broken in'\"><script>document.title='broken in'</script>&amp;<b>bold</b>"


def test_markup_in_questions_and_answers_stays_text(page: Page, site: Site) -> None:
    page.goto(site.url)
    ask(page, MARKUP)
    answered(page, f"You said: {MARKUP}")
    click(page, "Write it better")
    page.get_by_label("A better answer").fill(f"{MARKUP} indeed")
    click(page, "Save the better answer")
    expect(page.get_by_text(f"{MARKUP} indeed")).to_be_visible()
    assert page.locator("#conversation img, #conversation script, #conversation .said b").count() == 0
    assert page.title() == "Chat · honed"
    assert stored(site)[0].answer == f"You said: {MARKUP}"


def _compare(page: Page, site: Site, question: str = "hello") -> None:
    page.goto(site.url)
    page.get_by_role("switch", name="Compare two").check()
    ask(page, question)
    expect(page.get_by_role("button", name="Answer A is better")).to_be_visible()


@pytest.mark.parametrize("better", ["You said: hello", "YOU SAID: HELLO"])
def test_a_choice_between_two_models_names_the_better_and_the_worse_answer(page: Page, site: Site, better: str) -> None:
    _compare(page, site)
    expect(page.get_by_text("echo@v1", exact=True).locator("visible=true")).to_have_count(0)
    card = page.locator(".answer").filter(has_text=re.compile(re.escape(better)))
    card.get_by_role("button").click()
    expect(page.get_by_text("Your choice is saved.")).to_be_visible()
    (event,) = said(site)
    answers = {interaction.id: interaction for interaction in stored(site)}
    assert (event.kind, answers[event.interaction].answer) == ("choice", better)
    assert answers[event.rejected].answer != better
    assert len({interaction.pair for interaction in answers.values()}) == 1
    assert {interaction.pair for interaction in answers.values()} != {""}
    expect(card.get_by_text(answers[event.interaction].model)).to_be_visible()
    ask(page, "go on")
    expect(page.get_by_role("button", name="Answer A is better")).to_be_visible()
    assert [turn.content for turn in stored(site)[-1].prompt] == ["hello", better, "go on"]


def test_a_chosen_answer_can_be_rated_too(page: Page, site: Site) -> None:
    _compare(page, site)
    click(page, "Answer B is better")
    expect(page.get_by_text("Your choice is saved.")).to_be_visible()
    for card in page.locator(".answer").all():
        click(card, "Not good")
        expect(card.get_by_text("Saved. Thank you.", exact=True)).to_be_visible()
    choice, *thumbs = said(site)
    assert {thumb.interaction for thumb in thumbs} == {choice.interaction, choice.rejected}


def test_the_order_of_two_models_is_random(page: Page, site: Site) -> None:
    page.goto(site.url)
    page.get_by_role("switch", name="Compare two").check()
    first = set()
    for number in range(40):
        ask(page, f"question {number}")
        expect(page.get_by_role("button", name="Answer A is better")).to_be_visible()
        first.add(page.locator(".answer .said").first.text_content())
        if {text[:3] for text in first if text} == {"You", "YOU"}:
            break
        click(page, "New chat")
    else:
        pytest.fail("the same model stood first forty times")


def test_no_difference_stores_no_choice(page: Page, site: Site) -> None:
    _compare(page, site)
    click(page, "No difference")
    expect(page.get_by_role("button", name="Good", exact=True)).to_have_count(2)
    assert said(site) == []


def test_a_server_that_is_gone_is_named(page: Page, workspace: Workspace) -> None:
    with serving(workspace, {"echo@v1": lambda prompt, _: prompt[-1].content}) as site:
        page.goto(site.url)
        expect(page.get_by_role("region", name="Consent")).to_be_visible()
    ask(page, "hello")
    expect(page.get_by_text("The server can't be reached.")).to_be_visible()
    expect(page.get_by_role("button", name="Try again")).to_be_visible()


def test_a_refusal_is_shown_and_the_question_can_be_asked_again(page: Page, workspace: Workspace) -> None:
    with serving(workspace, {"echo@v1": lambda prompt, _: prompt[-1].content}) as site:
        page.goto(site.url)
        page.get_by_text("Settings").click()
        page.get_by_label("Temperature").fill("3")
        ask(page, "hello")
        expect(page.locator(".outcome.bad")).to_contain_text("temperature")
        page.get_by_label("Temperature").fill("1")
        click(page, "Try again")
        answered(page, "hello")
        assert [turn.content for turn in stored(site)[0].prompt] == ["hello"]


def test_one_model_alone_offers_no_comparison_and_says_how_to_get_one(page: Page, workspace: Workspace) -> None:
    with serving(workspace, {"echo@v1": lambda prompt, _: prompt[-1].content}) as site:
        page.goto(site.url)
        expect(page.get_by_role("switch")).to_have_count(0)
        page.get_by_text("Settings").click()
        expect(page.get_by_text("honed serve echo@v1 OTHER")).to_be_visible()


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window(page: Page, site: Site, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    _compare(page, site, "a question of many words " * 12 + "w" * 200)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    expect(page.get_by_label("Your message")).to_be_in_viewport()


def test_stopping_both_answers_leaves_a_way_to_ask_again(page: Page, site: Site) -> None:
    page.goto(site.url)
    page.get_by_role("switch", name="Compare two").check()
    ask(page, ENDLESS)
    expect(page.get_by_text(re.compile(r"1 2 3 4"))).to_have_count(2)
    click(page, "Stop")
    expect(page.get_by_text("You stopped this answer, so it can't be rated.")).to_have_count(2)
    expect(page.get_by_role("button", name="Try again")).to_have_count(2)
    page.get_by_role("switch", name="Compare two").uncheck()
    ask(page, "hello")
    answered(page, "You said: hello")
    expect(page.get_by_role("button", name="Try again")).to_have_count(1)
