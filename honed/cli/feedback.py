"""``honed feedback``: what people said of the answers they got."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from honed.cli.options import emit_json, json_option, say, workspace_option
from honed.cli.tables import columns, facts, moment, plain, short
from honed.store.workspace import Workspace

if TYPE_CHECKING:
    from honed.records import FeedbackEvent
    from honed.store.interactions import Interactions

F = TypeVar("F", bound=Callable[..., Any])
_KINDS = ("thumb", "edit", "choice")


def _database_option(function: F) -> F:
    option = click.option(
        "--database",
        metavar="URL",
        envvar="HONED_DATABASE",
        show_envvar=True,
        help="The database, as postgresql://... or sqlite:///FILE; by default the workspace's own.",
    )
    return workspace_option(option(json_option(function)))


@click.group()
def command() -> None:
    """List and show what people said of the answers they got, and export it."""


@command.command("list")
@click.option("--kind", type=click.Choice(_KINDS), help="Only feedback of this kind.")
@click.option("--last", type=click.IntRange(min=1), default=20, show_default=True, help="How many, of the newest.")
@_database_option
def list_(kind: str | None, last: int, workspace: Workspace, database: str | None, as_json: bool) -> None:
    """List the newest feedback, oldest first, and count all there is."""
    with _store(workspace, database) as store:
        counts = store.counts()
        events = deque(store.feedback(kind=kind or ""), maxlen=last)
    if as_json:
        emit_json({"counts": counts, "feedback": [event.model_dump() for event in events]})
        return
    said, consent = counts["feedback"], counts["consent"]
    click.echo(
        f"{counts['interactions']} answers ({counts['simulated']} simulated) to {counts['people']} people; "
        f"{said['thumb']} thumbs, {said['edit']} edits, {said['choice']} choices; "
        f"training allowed by {consent['granted']}, refused by {consent['refused']}"
    )
    if events:
        rows = [
            [event.id, moment(event.created), event.kind, short(" ".join(_said(event).split()), 60), event.interaction]
            for event in events
        ]
        click.echo(columns(["feedback", "when", "kind", "what", "answer"], rows))


@command.command()
@click.argument("id_", metavar="ID")
@_database_option
def show(id_: str, workspace: Workspace, database: str | None, as_json: bool) -> None:
    """Show an answer and all that was said of it. ID is the answer's, or that of feedback on it."""
    with _store(workspace, database) as store:
        document = _describe(store, id_)
    if as_json:
        emit_json(document)
        return
    answer = document["interaction"]
    allows = {True: "allows training", False: "doesn't allow training", None: "never asked about training"}
    head = [("answer", answer["id"]), ("when", moment(answer["created"])), ("model", answer["model"])]
    person = f"{answer['subject']}{' (simulated)' if answer['simulated'] else ''}, {allows[document['consent']]}"
    click.echo(facts([*head, ("person", person), ("ended by", answer["finish"])]))
    for name, value in answer["segments"].items():
        click.echo(facts([(f"  {name}", value)]))
    for turn in (*answer["prompt"], {"role": "assistant", "content": answer["answer"]}):
        click.echo(f"\n{turn['role']}\n  " + plain(turn["content"]).replace("\n", "\n  "))
    for event in document["feedback"]:
        click.echo(f"\n{event['kind']}  {moment(event['created'])}  {event['id']}")
        click.echo("  " + plain(event["what"]).replace("\n", "\n  "))


@command.command()
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False), metavar="OUT.jsonl")
@click.option("--derived", is_flag=True, help="The rows, preferences and ratings that a round would learn from.")
@_database_option
def export(out: Path, derived: bool, workspace: Workspace, database: str | None, as_json: bool) -> None:
    """Write the answers that something was said of to OUT.jsonl, a chat a line, which `honed data import` reads.

    The answers are as the model gave them, disliked ones too, with what was said beside; --derived writes the better
    answers that people wrote. Only people who allow training are in either.
    """
    from honed.feedback.export import export as export_answers
    from honed.feedback.export import export_derived

    with _store(workspace, database) as store:
        done = export_derived(store, out) if derived else export_answers(store, out)
    if as_json:
        emit_json({"files": {str(path): count for path, count in done.files.items()}, "left_out": dict(done.left_out)})
        return
    for path, count in done.files.items():
        click.echo(f"{path}: {count} {'line' if count == 1 else 'lines'}")
    for reason, count in done.left_out.items():
        say(f"left out {count}: {reason}")


@contextmanager
def _store(workspace: Workspace, database: str | None) -> Iterator[Interactions]:
    from honed.store.database import open_database
    from honed.store.interactions import Interactions

    opened = open_database(workspace, database)
    try:
        yield Interactions(opened)
    finally:
        opened.close()


def _describe(store: Interactions, id_: str) -> dict[str, Any]:
    """Return an answer, the consent of whom it was given to, and what was said of it, as one document."""
    from honed.errors import StoreError

    event = store.get_feedback(id_)
    answer = store.get(event.interaction if event else id_)
    if answer is None:
        raise StoreError(f"there is no answer and no feedback {id_!r}", "See: honed feedback list")
    said = [{**one.model_dump(), "what": _said(one)} for one in store.feedback(interaction=answer.id)]
    consent = store.consent_of(answer.subject, "train")
    return {"interaction": answer.model_dump(), "consent": consent, "feedback": said}


def _said(event: FeedbackEvent) -> str:
    if event.kind == "edit":
        return event.text
    what = {True: "good", False: "not good", None: f"better than {event.rejected}"}[event.good]
    return f"{what}: {event.reason}" if event.reason else what
