// A chat of the AI SDK without a page: sends a message, or resumes; prints what it shows in the end.
const [sdk, url, what, chatId] = process.argv.slice(2);
const { AbstractChat, DefaultChatTransport } = await import(sdk); // a version, as package.json names it

class State {
  status = "ready";
  error = undefined;
  messages = [];
  pushMessage = (message) => void (this.messages = [...this.messages, message]);
  popMessage = () => void (this.messages = this.messages.slice(0, -1));
  replaceMessage = (index, message) => void (this.messages = this.messages.with(index, message));
  snapshot = (value) => structuredClone(value);
}

class Chat extends AbstractChat {
  constructor(init) {
    super({ ...init, state: new State() });
  }
}

const ends = [];
const chat = new Chat({
  id: chatId,
  transport: new DefaultChatTransport({ api: `${url}/api/chat`, body: { agent: "ada" } }),
  onError: (error) => ends.push({ error: error.message }),
  onFinish: ({ isAbort, isError, finishReason }) => ends.push({ isAbort, isError, finishReason }),
});
if (what === "send") await chat.sendMessage({ text: "Hello" });
else await chat.resumeStream();
console.log(JSON.stringify({ status: chat.status, messages: chat.messages, ends }));
