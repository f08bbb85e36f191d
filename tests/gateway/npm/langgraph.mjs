// LangGraph's client for TypeScript: runs an agent, joins a run, waits for one, or cancels it; prints a line of JSON for
// each event, and what the pieces of messages become in LangChain's own classes.
import { Client } from "@langchain/langgraph-sdk";
import { AIMessageChunk } from "@langchain/core/messages";

const [url, what, runId] = process.argv.slice(2);
const client = new Client({ apiUrl: url, apiKey: null, callerOptions: { maxRetries: 0 } });
const input = { messages: [{ role: "user", content: "Hello" }] };
const say = (one) => console.log(JSON.stringify(one));

async function show(stream) {
  const merged = new Map();
  for await (const { id, event, data } of stream) {
    say({ id, event, data });
    if (event !== "messages" || data[0].type !== "AIMessageChunk") continue;
    const piece = new AIMessageChunk(data[0]);
    merged.set(piece.id, merged.has(piece.id) ? merged.get(piece.id).concat(piece) : piece);
  }
  for (const one of merged.values())
    say({ text: one.content, reasoning: one.additional_kwargs.reasoning_content ?? "", calls: one.tool_calls });
}

try {
  if (what === "run") {
    const onRunCreated = (created) => say({ created });
    await show(client.runs.stream("thread-1", "ada", { input, streamMode: "messages-tuple", onRunCreated }));
  } else if (what === "join") {
    await show(client.runs.joinStream("thread-1", runId, { streamMode: ["messages-tuple", "values"] }));
  } else if (what === "wait") {
    say(await client.runs.wait("thread-1", "ada", { input }));
  } else if (what === "cancel") {
    await client.runs.cancel("thread-1", runId, true);
    say(await client.runs.get("thread-1", runId));
  }
} catch (error) {
  say({ raised: error.message });
}
