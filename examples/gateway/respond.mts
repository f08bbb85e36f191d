// Start a run with OpenAI's client, read half of it, lose the connection, and go on with what is left.
//
// npm install openai && node respond.mts http://127.0.0.1:8283 [TOKEN]
//
// Node runs TypeScript as it is from 22.18 on.
import OpenAI from "openai";

const [url = "http://127.0.0.1:8283", token = "none"] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: token });
const HALF = 15;

let id = "";
let last = 0;
let text = "";

function hear(event: OpenAI.Responses.ResponseStreamEvent): string {
  last = event.sequence_number;
  if (event.type === "response.created") id = event.response.id;
  if (event.type === "response.output_text.delta") text += event.delta;
  return event.type;
}

const asked = { model: "counter", input: "Count to 30", background: true, stream: true } as const;
for await (const event of await client.responses.create(asked)) {
  hear(event);
  if (last === HALF) break; // the connection is closed; the run goes on
}
console.log(`had events up to ${last} when the connection was lost: ${text}`);

text = "";
let ended: string | undefined;
for await (const event of await client.responses.retrieve(id, { stream: true, starting_after: last })) ended = hear(event);
console.log(text);
console.log(`ended: ${ended}`);
