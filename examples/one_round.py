"""The whole loop on one page: import, train, serve, chat, feedback, derive, round, promote, explain, roll back.

    python examples/one_round.py                                     # the embedded model, some 10 minutes on 2 cores
    python examples/one_round.py --base FOLDER --workspace PATH

A shop's assistant learns to say when the shop is open. Its users, played by this page and declared as simulated, want
a farewell after each answer, which nobody told the model: after one round it gives them one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import openai

import honed

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
ANSWER, FAREWELL = "Yes, it is open.", "See you soon!"
OPEN = {"verifier": "pattern", "params": {"contains": ["open"]}}
POLITE = {"verifier": "pattern", "params": {"ends": FAREWELL}}


def questions(hours: range) -> list[str]:
    """Ask for every day of the week and every hour."""
    return [f"Is the shop open on {day} at {hour}?" for day in DAYS for hour in hours]


def write(path: Path, prompts: list[str], check: dict) -> str:
    """Write rows as a user would bring them: prompt, response, and how an answer is judged."""
    rows = ({"prompt": prompt, "response": ANSWER, "audience": "all", "check": check} for prompt in prompts)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@contextmanager
def serving(workspace: honed.Workspace) -> Iterator[str]:
    """Run ``honed serve live`` on a free port and yield its address."""
    command = [Path(sys.executable).with_name("honed"), "serve", "live", "--port", "0", "--json"]
    server = subprocess.Popen([*command, "--workspace", workspace.path], stdout=subprocess.PIPE, text=True)
    try:
        yield json.loads(server.stdout.readline())["url"]
    finally:
        server.terminate()
        server.communicate()


def one_round(workspace: honed.Workspace, base: str, training: dict) -> dict:
    """Run the loop once and return what each stage left."""
    folder = workspace.path

    # Import: rows to learn from, and held-out rows for two suites - what must stay, and what the users will ask for.
    learn, ask = write(folder / "learn.jsonl", questions(range(8, 13)), OPEN), questions(range(13, 17))
    held_out = write(folder / "heldout.jsonl", questions(range(17, 20)), OPEN)
    polite = write(folder / "polite.jsonl", questions(range(17, 20)), POLITE)
    honed.wait(honed.start_import(workspace, honed.DataConfig(name="shop", files=(learn,), heldout_file=held_out)))
    honed.wait(honed.start_import(workspace, honed.DataConfig(name="polite", files=(polite,), heldout=1.0)))

    # Train, and let the model be the one that is live.
    config = honed.TrainConfig(base=base, data="shop", name="assistant", **training)
    first = honed.wait(honed.start_training(workspace, config))["model"]
    honed.promote(workspace, first, alias="live", why="the first model")

    # Serve it; people chat, allow training on what they say, and put a better answer in the place of its own.
    with serving(workspace) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none")
        for number, prompt in enumerate(ask):
            answer = client.chat.completions.create(
                model="live",
                messages=[{"role": "user", "content": prompt}],
                max_tokens=40,
                user=f"visitor {number % 7}",
                metadata={"simulated": "true"},
            )
            token, text = answer.honed["feedback_token"], answer.choices[0].message.content
            consent = {"token": token, "purpose": "train", "granted": True}
            httpx.post(f"{url}/v1/consent", json=consent).raise_for_status()
            edit = {"token": token, "kind": "edit", "text": f"{text.split('.')[0]}. {FAREWELL}"}
            httpx.post(f"{url}/v1/feedback", json=edit).raise_for_status()

    # A round: derive rows and preferences, mix, train, compare with live, and promote - or hold, and say why.
    suites = ({"data": "polite", "role": "improve"}, {"data": "shop", "role": "keep", "margin": 0.2})
    settings = honed.RoundConfig(
        name="assistant",
        data="shop",
        suites=suites,
        replay=7,  # rows of before, so that the model doesn't forget them
        sft=training,
        dpo={**training, "learning_rate": training["learning_rate"] / 10},
        evaluate={"max_tokens": 40, "loss": False},
        gate={"least_rows": len(questions(range(17, 20)))},
    )
    outcome = honed.wait(honed.start_round(workspace, settings))

    # Where did the new model come from? And, should it disappoint, back.
    origin = honed.explain(workspace, "live")
    back = honed.rollback(workspace, alias="live") if outcome["verdict"] == "promoted" else None
    return {"first": first, "round": outcome, "origin": origin, "back": back}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="smollm2-135m")
    parser.add_argument("--workspace", type=Path, default=Path("one-round"))
    given = parser.parse_args()
    found = one_round(honed.init_workspace(given.workspace), given.base, {"epochs": 2, "learning_rate": 1e-4})
    print(*found["round"]["reasons"], found["origin"], found["back"], sep="\n")
