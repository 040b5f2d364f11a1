// The server's interface. Every failure is an ApiError with a sentence for people.
const BASE = new URL(".", document.baseURI).href;
const KEY = "quern.key";

export class ApiError extends Error {
  constructor(message, status = 0, code = "") {
    super(message);
    Object.assign(this, { status, code });
  }
}

export const isAbort = (e) => e instanceof DOMException && e.name === "AbortError";

let key = "";
try {
  key = sessionStorage.getItem(KEY) || "";
} catch { /* a browser that keeps nothing */ }

export const apiKey = {
  get: () => key,
  set(now) {
    key = now;
    try {
      sessionStorage.setItem(KEY, key);
    } catch { /* then for this page only */ }
  },
};

async function request(path, options = {}) {
  const headers = { ...(options.body ? { "Content-Type": "application/json" } : {}) };
  if (apiKey.get()) headers.Authorization = `Bearer ${apiKey.get()}`;
  try {
    return await fetch(BASE + path, { ...options, headers, cache: "no-store", credentials: "omit", redirect: "error" });
  } catch (e) {
    if (isAbort(e)) throw e;
    throw new ApiError("The server cannot be reached. Is it still running?");
  }
}

async function failure(response) {
  let error = {};
  try {
    error = (await response.json()).error || {};
  } catch { /* no JSON: the status has to do */ }
  const wait = response.headers.get("Retry-After");
  const message = error.message || `The server answered with status ${response.status}.`;
  return new ApiError(response.status === 429 && wait ? `${message} Try again in ${wait} s.` : message, response.status, error.code || "");
}

async function json(path, options) {
  const response = await request(path, options);
  if (!response.ok) throw await failure(response);
  try {
    return await response.json();
  } catch (e) {
    if (isAbort(e)) throw e;
    throw new ApiError("The connection was lost.");
  }
}

export const models = async () => (await json("v1/models")).data;

// null: all are there; otherwise what is going on.
export async function loading() {
  const response = await request("ready");
  if (response.ok) return null;
  const ready = await response.json();
  const failed = ready.models.find((m) => m.state === "failed"), busy = ready.models.find((m) => m.state === "loading");
  if (ready.status === "draining") return { text: "The server is shutting down." };
  if (failed) return { text: `${failed.id}: ${failed.message}`, failed: true };
  return { text: busy ? `Loading ${busy.id}, ${busy.progress_percent} %` : "Loading" };
}

// [] when the server has none.
export async function tools() {
  try {
    return (await json("tools")).tools;
  } catch (e) {
    if (e.status === 404) return [];
    throw e;
  }
}

// {content, is_error}. The arguments go as the text that was shown.
export const callTool = (name, args, signal) =>
  json("tools/call", { method: "POST", body: `{"name": ${JSON.stringify(name)}, "arguments": ${args}}`, signal });

// Lines of server-sent events, as they come.
async function* dataLines(body) {
  const reader = body.getReader(), decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      rest += done ? decoder.decode() : decoder.decode(value, { stream: true });
      const lines = rest.split("\n");
      rest = lines.pop();
      for (const line of lines) if (line.startsWith("data: ")) yield line.slice(6).replace(/\r$/, "");
      if (done) return;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

// Chunks of a chat completion.
export async function* chat(body, signal) {
  const response = await request("v1/chat/completions", { method: "POST", body: JSON.stringify(body), signal });
  if (!response.ok) throw await failure(response);
  try {
    for await (const data of dataLines(response.body)) {
      if (data === "[DONE]") return;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new ApiError(chunk.error.message || "The answer failed.", 0, chunk.error.code || "");
      yield chunk;
    }
  } catch (e) {
    if (isAbort(e) || e instanceof ApiError) throw e;
  }
  throw new ApiError("The connection was lost before the answer was complete.");
}
