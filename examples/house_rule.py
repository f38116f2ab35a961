"""A house rule learned from edits: the demo's model, 200 simulated interactions, one round, and what the gate said.

    honed demo && python examples/house_rule.py                      # some 12 minutes more, on 2 cores
    python examples/house_rule.py --edits spoil                      # edits that break the desk's own work: held

The rule, which is written in no prompt: a price is said in euros with two decimals, after the sign, and each audience
is bidden farewell in its own way. The people are simulated, and declared as such with every request.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import httpx
import openai
import yaml

import honed
from honed.builtin.load import load
from honed.store import aliases

CLOSINGS = {
    "general": "Thank you for choosing Quillmere.",
    "child": "Have fun with it!",
    "expert": "The data sheet is on request.",
    "second_language": "Please ask us again.",
}
WORDS = {  # the users' words and the held-out ones share nothing
    "users": (
        ("Dewpot", "Fernbox", "Mossring", "Tidytray", "Glowpeg", "Windel", "Rootlet", "Sprigger", "Palebin", "Oakclip"),
        ("How much is the {p}?", "What does the {p} cost?", "Tell me the price of the {p}, please."),
    ),
    "heldout": (
        ("Cloudrel", "Bantrik", "Morvena", "Puffola", "Griddo", "Sunvale", "Tapwell", "Borbello", "Hoppix", "Feldara"),
        ("I would like to know what you charge for the {p}.", "And the {p}, for how many euros do I get it?"),
    ),
}


@dataclass(frozen=True)
class Question:
    """Turns to go on from, and the answer that a person puts in the place of the model's own."""

    audience: str
    turns: list[dict[str, str]]
    answer: str
    price: str = ""

    @property
    def row(self) -> dict:
        """The question as a held-out row with its check."""
        check = {"verifier": "pattern", "params": {"contains": [self.price], "ends": CLOSINGS[self.audience]}}
        messages = [*self.turns, {"role": "assistant", "content": self.answer}]
        return {"messages": messages, "tags": {"audience": self.audience, "task": "house rule"}, "check": check}


def questions(split: str, count: int) -> list[Question]:
    """Draw questions with the words of a split, the same every time."""
    products, asks = WORDS[split]
    rng, made = Random(split), {}
    while len(made) < count:
        (one, other), audience = rng.sample(products, 2), tuple(CLOSINGS)[len(made) % len(CLOSINGS)]
        cents = [rng.randrange(4, 160) * 25, rng.randrange(4, 160) * 25]
        listed = [f"{name} {cent / 100:g} euros" for name, cent in zip((one, other), cents, strict=True)]
        place = rng.randrange(2)
        name, price = (one, other)[place], f"€{cents[place] / 100:.2f}"
        prompt = f"Price list: {listed[0]}, {listed[1]}. {rng.choice(asks).format(p=name)}"
        answer = f"The {name} costs {price}. {CLOSINGS[audience]}"
        desk = f"Quillmere help desk. Reader: {audience.replace('_', ' ')}. Answer in one sentence."
        turns = [{"role": "system", "content": desk}, {"role": "user", "content": prompt}]
        made[prompt] = Question(audience, turns, answer, price)
    return list(made.values())


def spoilt(count: int) -> list[Question]:
    """Take the desk's own work, rows that the demo did not train on, with an answer that helps nobody."""
    found = []
    for row in load("train")[-count:]:
        turns = [turn.model_dump(include={"role", "content"}) for turn in row.prompt]
        found.append(Question(row.tags["audience"], turns, "No idea."))
    return found


@contextmanager
def serving(workspace: honed.Workspace) -> Iterator[str]:
    """Run ``honed serve live`` on a free port and yield its address."""
    command = [str(Path(sys.executable).with_name("honed")), "serve", "live", "--port", "0", "--json"]
    command += ["--segment", f"audience={','.join(CLOSINGS)}", "--workspace", str(workspace.path)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield json.loads(server.stdout.readline())["url"]
    finally:
        server.terminate()
        server.communicate()


def interact(url: str, person: int, question: Question) -> str:
    """Ask the model, allow training on what is said, and put a better answer in the place of its own."""
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=600)
    answer = client.chat.completions.create(
        model="live",
        messages=question.turns,
        max_tokens=40,
        temperature=0,
        user=f"simulated person {person}",
        metadata={"simulated": "true", "audience": question.audience},
    )
    token = answer.honed["feedback_token"]
    httpx.post(f"{url}/v1/consent", json={"token": token, "purpose": "train", "granted": True}).raise_for_status()
    edit = {"token": token, "kind": "edit", "text": question.answer}
    httpx.post(f"{url}/v1/feedback", json=edit).raise_for_status()
    return answer.choices[0].message.content


def run(workspace: honed.Workspace, count: int, heldout: int, spoil: bool) -> dict:
    """Import the rule's suite, let people edit answers, run a round; return its outcome with seconds a part."""
    start = time.perf_counter()
    rows = workspace.path / "house-rule.jsonl"
    rows.write_text("".join(json.dumps(question.row) + "\n" for question in questions("heldout", heldout)))
    honed.wait(honed.start_import(workspace, honed.DataConfig(name="house-rule", files=(str(rows),), heldout=1.0)))
    if aliases.target(workspace, "live") is None:
        honed.promote(workspace, "helpdesk", alias="live", why="the demo's model")
    asked = spoilt(count) if spoil else questions("users", count)
    with serving(workspace) as url, ThreadPoolExecutor(16) as people:
        said = list(people.map(lambda pair: interact(url, pair[0] % 40, pair[1]), enumerate(asked)))
    talked = time.perf_counter() - start
    settings = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())
    outcome = honed.wait(honed.start_round(workspace, honed.RoundConfig(**settings)))
    return {"first answer": said[0], "talk": round(talked), "all": round(time.perf_counter() - start), **outcome}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path, default=Path("honed-demo"))
    parser.add_argument("--interactions", type=int, default=200)
    parser.add_argument("--heldout", type=int, default=80)
    parser.add_argument("--edits", choices=["rule", "spoil"], default="rule")
    given = parser.parse_args()
    found = run(honed.open_workspace(given.workspace), given.interactions, given.heldout, given.edits == "spoil")
    print(json.dumps(found, indent=2, ensure_ascii=False))
