// The page: which conversation is shown, what goes on in others, settings, lists, keys.
import * as api from "./api.js";
import * as store from "./store.js";
import { $, h, icon, iconButton, announce } from "./dom.js";
import { Run } from "./run.js";
import * as view from "./view.js";
import { buildSettings, fillSettings } from "./settings.js";

const settings = store.loadSettings();
const runs = new Map(); // conversation's id -> Run
let models = [], tools = [], current = null;

const runOf = (c) => runs.get(c?.id);
const save = (c) => {
  store.save(c);
  notice(store.trouble);
  showList();
};

// ---- what the parts of a conversation ask ------------------------------------------------------

const signature = (t) => JSON.stringify([t.source, t.mcp, t.description, t.parameters]);
const toolOf = (name) => tools.find((t) => t.name === name);
const isAllowed = (c, name) => {
  const t = toolOf(name);
  return !!t && (t.allow || (Object.hasOwn(c.allow, name) && c.allow[name] === signature(t)));
};

const page = {
  toolOf,
  isLive: (m) => runOf(current)?.live === m,
  isBusy: (m) => !!runOf(current) && current.messages.lastIndexOf(m) === current.messages.findLastIndex((x) => x.role === "assistant"),
  resultOf: (call) => runOf(current)?.done?.get(call) || current.messages.find((m) => m.role === "tool" && m.callId === call.id),
  stateOf: (call, m) => runOf(current)?.stateOf(call, m) || "idle",
  decide(call, answer) {
    if (answer === "always") {
      current.allow[call.name] = signature(toolOf(call.name));
      save(current);
    }
    runOf(current)?.decide(call, answer);
    (document.querySelector('.card[data-state="asking"]:not(:focus-within)') || $("input")).focus();
  },
  resend(i, text) {
    if (runOf(current)) return;
    current.messages.splice(i);
    showConversation();
    send(text);
  },
  regenerate(first) {
    if (runOf(current)) return;
    current.messages.splice(current.messages.indexOf(first));
    showConversation();
    start();
  },
};

// ---- a run ----------------------------------------------------------------------------------------

let frame = 0;
const dirty = new Set();

function draw() {
  frame = 0;
  const stick = atEnd();
  for (const m of dirty) page.answers.get(m)?.update();
  dirty.clear();
  page.turn?.refresh();
  showUsage();
  if (stick) toEnd();
}

function eventsOf(c) {
  let heard = 0;
  return {
    added(m) {
      if (c !== current) return;
      const stick = atEnd();
      heard = 0;
      view.append($("turns"), m, c.messages.length - 1, page);
      if (stick) toEnd();
    },
    changed(m) {
      if (c !== current) return;
      dirty.add(m);
      frame ||= requestAnimationFrame(draw);
      // Whole paragraphs are read out, not letters.
      const end = m.finish || m.error ? m.content.length : m.content.lastIndexOf("\n\n");
      if (end > heard) announce(m.content.slice(heard, end));
      heard = Math.max(heard, end);
    },
    may: (call) => (isAllowed(c, call.name) ? "always" : undefined),
    asked(call) {
      if (c !== current) { showList(); return; }
      announce(`The model wants to call ${call.name}.`);
      requestAnimationFrame(() => {
        const card = document.querySelector('.card[data-state="asking"]');
        card?.scrollIntoView({ block: "nearest" });
        const away = document.activeElement === document.body || (document.activeElement === $("input") && !$("input").value);
        if (away) card?.focus({ preventScroll: true });
      });
    },
  };
}

async function start() {
  const c = current;
  const offered = tools.filter((t) => !settings.toolsOff.includes(t.name));
  const run = new Run(c, structuredClone(settings), offered, eventsOf(c));
  runs.set(c.id, run);
  showBusy();
  save(c);
  await run.all();
  runs.delete(c.id);
  const last = c.messages.findLast((m) => m.role === "assistant");
  if (store.index().some((e) => e.id === c.id)) save(c);
  if (last?.status === 401) needKey();
  if (c !== current) return;
  const stick = atEnd();
  c.messages.forEach((m) => page.answers.get(m)?.update());
  page.turn?.refresh();
  showBusy();
  if (stick) toEnd();
}

function send(text) {
  const m = { role: "user", content: text };
  current.messages.push(m);
  view.append($("turns"), m, current.messages.length - 1, page);
  $("empty").hidden = true;
  toEnd();
  start();
}

// ---- the frame --------------------------------------------------------------------------------------

function notice(text, ...more) {
  $("notice").hidden = !text;
  $("notice").replaceChildren(text || "", ...more);
}

function atEnd() {
  const s = $("scroll");
  return s.scrollHeight - s.scrollTop - s.clientHeight < 60;
}

function toEnd() {
  $("scroll").scrollTop = $("scroll").scrollHeight;
}

function showBusy() {
  const busy = !!runOf(current);
  document.body.classList.toggle("busy", busy);
  $("send").hidden = busy;
  $("stop").hidden = !busy;
  $("turns").setAttribute("aria-busy", busy);
  showUsage();
}

function showUsage() {
  const speed = runOf(current)?.speed();
  if (speed) {
    $("usage").textContent = `about ${Math.round(speed)} tokens/s`;
    return;
  }
  const m = current.messages.findLast((x) => x.role === "assistant" && x.stats), limit = modelNow()?.max_model_len;
  const n = (x) => new Intl.NumberFormat("en").format(x);
  $("usage").textContent = m && limit ? `${n(m.stats.prompt + m.stats.completion)} of ${n(limit)} tokens of context` : "";
}

function showConversation() {
  document.title = current.messages.length ? `${store.titleOf(current)} - Quern` : "Quern";
  view.show($("turns"), current, page);
  $("empty").hidden = current.messages.length > 0;
  showBusy();
  toEnd();
}

function open(c) {
  current = c;
  location.replace(`#${c.id}`);
  showConversation();
  showList();
  closeSide();
  if (!matchMedia("(pointer: coarse)").matches) $("input").focus();
}

function openId(id) {
  open(runOf({ id })?.conversation || store.load(id) || store.newConversation(current?.system));
}

// ---- the list ------------------------------------------------------------------------------------------

function ask(title, { label, value = "", ok = "OK", danger = false }) {
  const d = $("ask");
  $("ask-title").textContent = title;
  $("ask-text").textContent = label;
  $("ask-input").hidden = danger;
  $("ask-input").value = value;
  $("ask-ok").textContent = ok;
  d.returnValue = "cancel";
  d.showModal();
  if (!danger) $("ask-input").select();
  return new Promise((resolve) => {
    d.addEventListener("close", () => resolve(d.returnValue === "ok" ? $("ask-input").value.trim() || true : null), { once: true });
  });
}

const fetched = (id) => (id === current.id ? current : runOf({ id })?.conversation || store.load(id));

async function rename(id) {
  const c = fetched(id), title = c && await ask("Rename the conversation", { label: "Title", value: store.titleOf(c), ok: "Rename" });
  if (typeof title !== "string") return;
  c.title = title.slice(0, 200);
  save(c);
  if (c === current) document.title = `${title} - Quern`;
}

async function removeConversation(id, title) {
  if (!await ask("Delete the conversation?", { label: `“${title}” is gone for good then.`, ok: "Delete", danger: true })) return;
  runOf({ id })?.stop();
  store.remove(id);
  if (id === current.id) open(store.newConversation(current.system));
  else showList();
}

function download(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

const fileName = (title) => `${title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 40) || "conversation"}.json`;

function showList() {
  const asking = (id) => runOf({ id })?.waiting.size;
  $("list").replaceChildren(...store.index().map(({ id, title }) => h("li", { class: id === current.id ? "current" : "" },
    h("a", { href: `#${id}`, "aria-current": id === current.id ? "page" : null, title, onclick: (e) => { e.preventDefault(); openId(id); } },
      runOf({ id }) ? h("span", { class: asking(id) ? "dot asking" : "dot", "aria-label": asking(id) ? "waits for you" : "is being answered" }) : "", title),
    h("span", { class: "row-actions" },
      iconButton("edit", `Rename ${title}`, () => rename(id)),
      iconButton("save", `Export ${title}`, () => download(fileName(title), store.exported([fetched(id)]))),
      iconButton("trash", `Delete ${title}`, () => removeConversation(id, title))))));
}

async function importFile(file) {
  try {
    const found = store.imported(await file.text());
    found.forEach((c) => store.save(c));
    notice(store.trouble);
    openId(found[0].id);
  } catch (e) {
    notice(e.message);
  }
}

function openSide() {
  document.body.classList.add("side");
  $("shade").hidden = false;
  $("side-open").setAttribute("aria-expanded", "true");
  $("side-close").focus();
}

function closeSide() {
  document.body.classList.remove("side");
  $("shade").hidden = true;
  $("side-open").setAttribute("aria-expanded", "false");
}

// ---- models, tools, access ---------------------------------------------------------------------------------

const modelNow = () => models.find((m) => m.id === settings.model) || models[0];

function showModels() {
  $("model").replaceChildren(...models.map((m) => h("option", { value: m.id }, m.parent ? `${m.id} (on ${m.parent})` : m.id)));
  const m = modelNow();
  settings.model = m ? m.id : "";
  $("model").value = settings.model;
  const tokens = m?.max_model_len ? `, ${new Intl.NumberFormat("en").format(m.max_model_len)} tokens of context` : "";
  $("about").textContent = m ? `${m.id}${tokens}. Conversations are kept in this browser only.` : "";
}

function needKey() {
  const field = h("input", { type: "password", "aria-label": "API key", placeholder: "API key", autocomplete: "off", spellcheck: "false" });
  const form = h("form", { class: "key", onsubmit: (e) => {
    e.preventDefault();
    api.apiKey.set(field.value.trim());
    connect();
  } }, field, h("button", { class: "primary", type: "submit" }, "Use it"));
  notice(api.apiKey.get() ? "The server does not know this API key." : "This server wants an API key.", form);
  field.focus();
}

async function connect() {
  try {
    [models, tools] = await Promise.all([api.models(), api.tools()]);
    notice(store.trouble);
    showModels();
    showUsage();
    watchLoading();
  } catch (e) {
    if (e.status === 401) needKey();
    else notice(e.message, " ", h("button", { type: "button", onclick: connect }, "Try again"));
  }
}

// Until the models are there; the list has then more to say of them.
async function watchLoading() {
  for (let wasBusy = false; ; wasBusy = true) {
    const now = await api.loading().catch(() => null);
    $("state").textContent = now?.text || "";
    $("state").classList.toggle("bad", !!now?.failed);
    if (!now || now.failed) {
      if (wasBusy) models = await api.models().catch(() => models);
      showModels();
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

// ---- events --------------------------------------------------------------------------------------------------

function fit(area) {
  area.style.height = "auto";
  area.style.height = `${Math.min(area.scrollHeight + 2, innerHeight * 0.4)}px`;
}

function submit(e) {
  e?.preventDefault();
  const text = $("input").value.trim();
  if (!text || runOf(current)) return;
  $("input").value = "";
  fit($("input"));
  send(text);
}

function listen() {
  for (const [id, name] of [["side-open", "menu"], ["side-close", "close"], ["settings-open", "settings"], ["settings-close", "close"],
    ["send", "send"], ["stop", "stop"], ["down", "down"]]) $(id).append(icon(name));
  $("new").prepend(icon("plus"));
  $("composer").addEventListener("submit", submit);
  $("input").addEventListener("input", () => fit($("input")));
  $("input").addEventListener("keydown", (e) => {
    if (e.key === "Enter" && !e.shiftKey && !e.isComposing && !matchMedia("(pointer: coarse)").matches) submit(e);
  });
  document.addEventListener("keydown", (e) => {
    if (e.key !== "Escape" || document.querySelector("dialog[open]")) return;
    if (document.body.classList.contains("side")) closeSide();
    else runOf(current)?.stop();
  });
  $("stop").addEventListener("click", () => { runOf(current)?.stop(); $("input").focus(); });
  $("new").addEventListener("click", () => open(store.newConversation(current.system)));
  $("side-open").addEventListener("click", openSide);
  $("side-close").addEventListener("click", closeSide);
  $("shade").addEventListener("click", closeSide);
  $("scroll").addEventListener("scroll", () => { $("down").hidden = atEnd(); });
  $("down").addEventListener("click", toEnd);
  $("import").addEventListener("click", () => $("import-file").click());
  $("import-file").addEventListener("change", (e) => { if (e.target.files[0]) importFile(e.target.files[0]); e.target.value = ""; });
  $("export-all").addEventListener("click", () => download("quern-conversations.json",
    store.exported(store.index().map((e) => fetched(e.id)).filter(Boolean))));
  $("model").addEventListener("change", (e) => { settings.model = e.target.value; store.saveSettings(settings); showModels(); showUsage(); });
  $("settings-open").addEventListener("click", () => {
    fillSettings({ settings, conversation: current, tools, isAllowed });
    $("settings").showModal();
  });
  addEventListener("hashchange", () => { const id = location.hash.slice(1); if (id && id !== current.id) openId(id); });
  // Another tab has changed the list.
  addEventListener("storage", (e) => { if (e.key === "quern.index") showList(); });
  addEventListener("beforeunload", (e) => { if (runs.size) e.preventDefault(); });
}

buildSettings({
  changed: () => store.saveSettings(settings),
  conversationChanged: () => { if (current.messages.length) save(current); },
  keyChanged: connect,
});
listen();
openId(location.hash.slice(1) || "none");
connect();
