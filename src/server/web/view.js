// How a conversation looks: turns, answers, cards of tool calls. Shows what is in the messages and in `work`, the
// state of what goes on; keeps nothing of its own but what a person has opened.
import { h, icon, iconButton, copyButton } from "./dom.js";
import { render } from "./markdown.js";

const count = new Intl.NumberFormat("en");
const seconds = (ms) => (ms < 950 ? `${Math.max(1, Math.round(ms))} ms` : `${(ms / 1000).toFixed(1)} s`);

// JSON with line breaks (short as it is, without), otherwise character for character what will be sent: numbers keep their digits, and
// what the eye cannot see in a string is written as an escape.
export function pretty(text) {
  try {
    JSON.parse(text);
  } catch {
    return text;
  }
  let out = "", depth = 0;
  const short = text.length <= 64;
  const line = () => (short ? "" : `\n${"  ".repeat(depth)}`);
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g)) {
    if (token === "{" || token === "[") { depth++; out += token + line(); }
    else if (token === "}" || token === "]") { depth--; out = /[{[]\s*$/.test(out) ? out.trimEnd() + token : out + line() + token; }
    else if (token === ",") out += token + (line() || " ");
    else if (token === ":") out += ": ";
    else out += token.replace(/[\u007f-\u009f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
      (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
  }
  return out;
}

function statsText(stats) {
  const parts = [`${count.format(stats.completion)} tokens`];
  if (stats.perSecond) parts.push(`${count.format(Math.round(stats.perSecond * (stats.perSecond < 10 ? 10 : 1)) / (stats.perSecond < 10 ? 10 : 1))} tokens/s`);
  if (stats.ms) parts.push(seconds(stats.ms));
  parts.push(`prompt ${count.format(stats.prompt)}${stats.cached ? `, ${count.format(stats.cached)} of it cached` : ""}`);
  return parts.join(" · ");
}

// ---- a tool call ------------------------------------------------------------------------------

const STATES = { writing: "is being written", asking: "waits for you", running: "runs", done: "done", failed: "failed",
  denied: "denied", stopped: "stopped", idle: "not run" };

class Card {
  constructor(call, page) {
    Object.assign(this, { call, page, state: "", shownArguments: null });
    this.chip = h("span", { class: "chip" });
    this.args = h("pre", { tabindex: "0", "aria-label": "Arguments" });
    this.buttons = h("div", { class: "buttons" });
    this.result = h("div", { class: "result" });
    this.source = h("span", { class: "source" });
    this.name = h("b", {});
    this.el = h("section", { class: "card", tabindex: "-1" },
      h("div", { class: "card-head" }, icon("tool"), this.name, this.source, this.chip), this.args, this.buttons, this.result);
  }

  ask() {
    const button = (label, answer, cls) => {
      const b = h("button", { type: "button", class: cls, onclick: () => this.page.decide(this.call, answer) }, label);
      // A click or key on its way to something else must not be a consent.
      b.disabled = true;
      setTimeout(() => { b.disabled = false; }, 300);
      return b;
    };
    this.buttons.replaceChildren(button("Allow once", "once", "once primary"),
      button("Always allow this tool here", "always", "always"), button("Deny", "deny", "deny"));
  }

  update(state, result) {
    const { call } = this;
    if (this.name.textContent !== call.name) {
      this.name.textContent = call.name;
      this.el.setAttribute("aria-label", `Call of ${call.name}`);
      const tool = this.page.toolOf(call.name);
      this.source.textContent = tool ? (tool.mcp ? `MCP: ${tool.source}` : "command") : "";
    }
    if (this.shownArguments !== call.arguments) {
      this.shownArguments = call.arguments;
      const shown = state === "writing" ? call.arguments : pretty(call.arguments);
      this.args.textContent = shown;
      this.args.hidden = shown === "" || shown === "{}";
    }
    if (this.state === state) return;
    if (this.state === "writing") this.args.textContent = pretty(call.arguments);
    this.state = state;
    this.el.dataset.state = state;
    this.chip.textContent = STATES[state];
    this.buttons.hidden = state !== "asking";
    this.buttons.replaceChildren();
    if (state === "asking") this.ask();
    this.result.hidden = !result;
    if (!result) return;
    const shown = pretty(result.content);
    this.result.replaceChildren(h("details", { open: shown.length < 1500 },
      h("summary", {}, state === "denied" || state === "stopped" ? "What the model is told" : "Result"), h("pre", { tabindex: "0" }, shown || "(nothing)")),
    copyButton(() => result.content, "Copy the result"));
  }
}

// ---- one message of the model ---------------------------------------------------------------------

class Answer {
  constructor(message, page) {
    Object.assign(this, { message, page, cards: [] });
    this.thoughts = h("div", { class: "md" });
    this.summary = h("span", {});
    this.thinking = h("details", { class: "thinking", ontoggle: () => this.update() }, h("summary", {}, this.summary), this.thoughts);
    this.body = h("div", { class: "md" });
    this.calls = h("div", { class: "cards" });
    this.problem = h("div", { class: "problem", role: "alert" });
    this.el = h("div", { class: "answer" }, this.thinking, this.body, this.calls, this.problem);
  }

  update() {
    const m = this.message, live = this.page.isLive(m);
    this.thinking.hidden = !m.reasoning;
    const thinks = live && !m.content && !m.calls.length;
    this.summary.textContent = thinks ? "Thinking …" : m.thinkingMs ? `Thought for ${seconds(m.thinkingMs)}` : "Thoughts";
    this.thinking.classList.toggle("busy", thinks);
    if (this.thinking.open) render(this.thoughts, m.reasoning);
    render(this.body, m.content);
    this.el.classList.toggle("waiting", live && !m.reasoning && !m.content && !m.calls.length);
    this.body.classList.toggle("writing", live && !m.calls.length && m.content !== "");
    for (const card of this.cards.splice(m.calls.length)) card.el.remove();
    m.calls.forEach((call, i) => {
      if (!this.cards[i]) {
        this.cards.push(new Card(call, this.page));
        this.calls.append(this.cards[i].el);
      }
      const result = this.page.resultOf(call);
      this.cards[i].update(result ? result.state : this.page.stateOf(call, m), result);
    });
    this.showProblem(m, live);
  }

  showProblem(m, live) {
    const text = m.error || (live ? "" : m.finish === "length" ? "The answer ends here because it reached the limit of tokens." : m.finish === "stopped" ? "Stopped." : "");
    if (this.problem.dataset.text === text) return;
    this.problem.dataset.text = text;
    this.problem.classList.toggle("bad", !!m.error);
    this.problem.hidden = !text;
    this.problem.replaceChildren(text);
  }
}

// ---- turns -----------------------------------------------------------------------------------------

function userTurn(message, i, page) {
  const bubble = h("div", { class: "bubble" }, message.content);
  const el = h("article", { class: "turn user", "aria-label": "You" }, bubble, h("div", { class: "actions" },
    copyButton(() => message.content, "Copy the message"),
    h("span", { class: "when-idle" }, iconButton("edit", "Edit the message", () => edit(el, message, i, page)))));
  return el;
}

function edit(el, message, i, page) {
  const area = h("textarea", { class: "edit", "aria-label": "Edit the message", rows: "3" });
  const before = [...el.childNodes];
  const back = () => el.replaceChildren(...before);
  const save = () => { if (area.value.trim()) page.resend(i, area.value.trim()); };
  area.value = message.content;
  area.addEventListener("keydown", (e) => {
    if (e.key === "Escape") { e.stopPropagation(); back(); }
    if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) save();
  });
  el.replaceChildren(area, h("p", { class: "note" }, "What follows this message is replaced."), h("div", { class: "buttons" },
    h("button", { type: "button", class: "primary", onclick: save }, "Send"), h("button", { type: "button", onclick: back }, "Cancel")));
  area.focus();
}

// All the model did after a message of a person.
function modelTurn(messages, page) {
  const said = messages.filter((m) => m.role === "assistant");
  const el = h("article", { class: "turn model", "aria-label": "Answer" });
  const stats = h("span", { class: "stats" });
  const words = () => said.map((m) => m.content).filter(Boolean).join("\n\n");
  const copyWhole = copyButton(words, "Copy the answer");
  el.append(h("div", { class: "actions" }, copyWhole,
    h("span", { class: "when-idle" }, iconButton("again", "Answer anew", () => page.regenerate(messages[0]))), stats));
  const add = (m) => {
    const a = new Answer(m, page);
    page.answers.set(m, a);
    el.lastChild.before(a.el);
    a.update();
  };
  said.forEach(add);
  const refresh = () => {
    const last = said[said.length - 1];
    el.classList.toggle("live", said.some((m) => page.isLive(m)) || page.isBusy(last));
    copyWhole.hidden = !words();
    stats.textContent = last?.stats ? statsText(last.stats) : "";
  };
  refresh();
  return { el, refresh, add: (m) => { said.push(m); add(m); refresh(); } };
}

// Shows a conversation in `root`. page: what the parts ask and tell (chat.js).
export function show(root, conversation, page) {
  page.answers = new Map();
  page.turn = null;
  root.replaceChildren();
  const { messages } = conversation;
  for (let i = 0; i < messages.length;) {
    if (messages[i].role === "user") {
      root.append(userTurn(messages[i], i, page));
      page.turn = null;
      i++;
      continue;
    }
    let end = i;
    while (end < messages.length && messages[end].role !== "user") end++;
    page.turn = modelTurn(messages.slice(i, end), page);
    root.append(page.turn.el);
    i = end;
  }
}

// A message that has just been added at the end.
export function append(root, message, i, page) {
  if (message.role === "user") {
    root.append(userTurn(message, i, page));
    page.turn = null;
  } else if (message.role === "assistant" && page.turn) {
    page.turn.add(message);
  } else if (message.role === "assistant") {
    page.turn = modelTurn([message], page);
    root.append(page.turn.el);
  }
}
