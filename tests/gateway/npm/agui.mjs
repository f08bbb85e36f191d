// A client of AG-UI: runs an agent, or joins a run that it has had a part of; prints what it has in the end.
import { HttpAgent } from "@ag-ui/client";

const [url, what, runId] = process.argv.slice(2);
const messages = [{ id: "mine-1", role: "user", content: "Hello" }];
// What a client has of a run that was cut off in the middle of its first message.
if (what === "join") messages.push({ id: `${runId}-1`, role: "assistant", content: "Hel" });
const agent = new HttpAgent({ url: `${url}/agui/ada`, threadId: "thread-1", initialMessages: messages });
const events = [];
let failed = null;
try {
  await agent.runAgent({ runId }, { onEvent: ({ event }) => void events.push(event) });
} catch (error) {
  failed = error.message;
}
console.log(JSON.stringify({ messages: agent.messages, events, failed }));
