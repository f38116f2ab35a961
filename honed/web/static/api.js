// The server's answers to the page: chat completions piece by piece, feedback, consent.

/** What the server, or the way to it, had against a request; the message is for people. */
export class Refused extends Error {}

async function explain(response) {
  const body = await response.json().catch(() => null);
  return new Refused(body?.error?.message ?? `The server answered ${response.status} ${response.statusText}.`);
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The server can't be reached. Is `honed serve` still running?");
  }
  if (!response.ok) throw await explain(response);
  return response;
}

function post(body, signal) {
  return { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal };
}

/** Yield the data of each server-sent event of a response. */
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split(/\r?\n\r?\n/);
    rest = parts.pop();
    for (const part of parts) {
      const data = part.split(/\r?\n/).filter((line) => line.startsWith("data:"));
      if (data.length) yield data.map((line) => line.slice(5).trimStart()).join("\n");
    }
  }
}

/**
 * Ask for a completion; `onText` gets each piece of the answer as it comes, `onThought` of the reasoning before. Resolves to `{finish, honed}`, of which `honed` names the
 * stored interaction and its feedback token. Rejects with `Refused`, or with an AbortError when `signal` stopped it.
 */
export async function complete(body, signal, onText, onThought) {
  const response = await ask("/v1/chat/completions", post({ ...body, stream: true }, signal));
  const made = { finish: null, honed: null };
  try {
    for await (const data of events(response)) {
      if (data === "[DONE]") break;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new Refused(chunk.error.message);
      const choice = chunk.choices?.[0];
      if (choice?.delta?.reasoning_content) onThought(choice.delta.reasoning_content);
      if (choice?.delta?.content) onText(choice.delta.content);
      if (choice?.finish_reason) made.finish = choice.finish_reason;
      if (chunk.honed) made.honed = chunk.honed;
    }
  } catch (error) {
    if (error.name === "AbortError" || error instanceof Refused) throw error;
    throw new Refused("The connection broke before the answer was whole.");
  }
  if (!made.honed) throw new Refused("The answer broke off before it was stored, so it can't be rated.");
  return made;
}

/** Give feedback; resolves to the server's receipt, whose `feedback_token` is good for the next word on this answer. */
export async function feedback(body) {
  return (await ask("/v1/feedback", post(body))).json();
}

/** Resolve to true, false, or null if this person was never asked. */
export async function consent() {
  return (await (await ask("/v1/consent")).json()).train;
}

/** Store what this person allows. */
export async function setConsent(granted) {
  await ask("/v1/consent", post({ purpose: "train", granted }));
}
