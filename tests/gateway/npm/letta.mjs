// Letta's client for TypeScript: runs an agent, or reads a run from a cursor; prints each message as a line of JSON.
import Letta from "@letta-ai/letta-client";

const [url, what, id, after] = process.argv.slice(2);
const letta = new Letta({ baseURL: url, apiKey: "none", maxRetries: 0 });
const stream =
  what === "run"
    ? await letta.agents.messages.create(id, { input: "Hello", streaming: true, stream_tokens: true })
    : await letta.runs.messages.stream(id, { starting_after: Number(after) });
for await (const message of stream) console.log(JSON.stringify(message));
