// OpenAI's client for TypeScript: a chat completion, or a response; prints each event as a line of JSON.
import OpenAI from "openai";

const [url, what] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
try {
  const stream =
    what === "chat"
      ? await client.chat.completions.create({ model: "ada", messages: [{ role: "user", content: "Hi" }], stream: true })
      : await client.responses.create({ model: "ada", input: "Hi", stream: true });
  for await (const event of stream) console.log(JSON.stringify(event));
} catch (error) {
  console.log(JSON.stringify({ raised: error.message }));
}
