// Conversations and settings in the browser's localStorage, and their way out and in as JSON.
//
//   conversation  {id, title, updated, system, messages, allow}
//   message       {role: "user", content}
//                 {role: "assistant", content, reasoning, calls: [{id, name, arguments}], finish, error, stats}
//                 {role: "tool", callId, name, content, state: "done" | "failed" | "denied" | "stopped"}
//   allow         {tool's name: what it was when it was allowed}; never leaves by an export, never comes by an import
const INDEX = "quern.index", SETTINGS = "quern.settings", PREFIX = "quern.chat.";
const IMPORT_MAX = 2000, TEXT_MAX = 4 << 20;

export const DEFAULTS = { model: "", thinking: "", budget: null, sampling: {}, rounds: 8, toolsOff: [] };

function read(key, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(key)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

// What failed, for the page to say; null: nothing.
export let trouble = null;

function write(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
    trouble = null;
  } catch {
    trouble = "The browser's storage is full: this conversation is not kept. Export it, or delete others.";
  }
}

export const loadSettings = () => ({ ...DEFAULTS, ...read(SETTINGS, {}) });
export const saveSettings = (settings) => write(SETTINGS, settings);

export const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(9)), (b) => b.toString(36).padStart(2, "0")).join("");

export const newConversation = (system = "") => ({ id: newId(), title: "", updated: Date.now(), system, messages: [], allow: {} });

// [{id, title, updated}], newest first
export const index = () => read(INDEX, []).filter((e) => e && typeof e.id === "string");

export function load(id) {
  const c = read(PREFIX + id, null);
  const clean = c && checkConversation(c);
  return clean && { ...clean, id, allow: c.allow && typeof c.allow === "object" ? c.allow : {} };
}

export function save(c) {
  c.updated = Date.now();
  const entries = index().filter((e) => e.id !== c.id);
  write(PREFIX + c.id, c);
  if (!trouble) write(INDEX, [{ id: c.id, title: titleOf(c), updated: c.updated }, ...entries]);
}

export function remove(id) {
  try {
    localStorage.removeItem(PREFIX + id);
  } catch { /* nothing was kept */ }
  write(INDEX, index().filter((e) => e.id !== id));
}

export function titleOf(c) {
  const first = c.messages.find((m) => m.role === "user");
  return c.title || (first ? first.content.trim().replace(/\s+/g, " ").slice(0, 60) : "") || "New conversation";
}

// ---- out and in -----------------------------------------------------------------------------

export function exported(conversations) {
  return JSON.stringify({ format: "quern-chat", version: 1,
    conversations: conversations.map(({ title, updated, system, messages }) => ({ title, updated, system, messages })) }, null, 1);
}

const text = (v) => (typeof v === "string" ? v.slice(0, TEXT_MAX) : "");
const number = (v) => (typeof v === "number" && Number.isFinite(v) ? v : undefined);

function checkCall(c) {
  const f = c?.function || c || {};
  const args = typeof f.arguments === "object" && f.arguments ? JSON.stringify(f.arguments) : text(f.arguments);
  return { id: text(c?.id) || newId(), name: text(f.name), arguments: args };
}

function checkMessage(m) {
  if (m?.role === "user") return { role: "user", content: text(m.content) };
  if (m?.role === "tool") {
    const state = ["done", "failed", "denied", "stopped"].includes(m.state) ? m.state : "done";
    return { role: "tool", callId: text(m.callId || m.tool_call_id), name: text(m.name), content: text(m.content), state };
  }
  if (m?.role !== "assistant") return null;
  const s = m.stats && typeof m.stats === "object" ? m.stats : null, calls = m.calls || m.tool_calls;
  return {
    role: "assistant", content: text(m.content), reasoning: text(m.reasoning || m.reasoning_content),
    calls: (Array.isArray(calls) ? calls : []).map(checkCall),
    finish: text(m.finish), error: text(m.error), thinkingMs: number(m.thinkingMs),
    stats: s && { prompt: number(s.prompt), cached: number(s.cached), completion: number(s.completion),
      perSecond: number(s.perSecond), ms: number(s.ms) },
  };
}

// null: this is no conversation. A system message becomes the system prompt, as `quern chat` saves it.
function checkConversation(c) {
  const messages = Array.isArray(c) ? c : c?.messages;
  if (!Array.isArray(messages)) return null;
  const system = messages[0]?.role === "system" ? messages[0].content : c.system;
  return { title: text(c.title).slice(0, 200), updated: number(c.updated) || Date.now(), system: text(system),
    messages: messages.map(checkMessage).filter(Boolean) };
}

// Other programs count calls anew in each answer; here an id says which call it is.
function renumber(messages) {
  let ids = new Map();
  for (const m of messages) {
    if (m.role === "assistant") ids = new Map(m.calls.map((k) => [k.id, newId()]));
    for (const k of m.calls || []) k.id = ids.get(k.id);
    if (m.role === "tool") m.callId = ids.get(m.callId) || m.callId;
  }
  return messages;
}

// Takes what this page exports, one conversation of it, or the messages that `quern chat` saves.
export function imported(json) {
  let value;
  try {
    value = JSON.parse(json);
  } catch {
    throw new Error("This file is not JSON.");
  }
  const list = Array.isArray(value?.conversations) ? value.conversations : [value];
  const found = list.slice(0, IMPORT_MAX).map(checkConversation).filter((c) => c && c.messages.length);
  if (!found.length) throw new Error("There is no conversation in this file.");
  return found.map((c) => ({ ...c, messages: renumber(c.messages), id: newId(), allow: {} }));
}
