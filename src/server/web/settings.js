// The sheet of settings. What is typed is taken at once if it is in its range.
import { $, h } from "./dom.js";
import { apiKey } from "./api.js";

const SAMPLING = [
  ["temperature", "Temperature", 0, 2, 0.05], ["top_p", "Top p", 0, 1, 0.01], ["top_k", "Top k", 0, 1000, 1],
  ["min_p", "Min p", 0, 1, 0.01], ["presence_penalty", "Presence penalty", -2, 2, 0.1],
  ["repetition_penalty", "Repetition penalty", 0.5, 2, 0.01], ["max_tokens", "Most tokens of an answer", 1, 1000000, 1],
  ["seed", "Seed", 0, 2147483647, 1],
];

let now = null; // {settings, conversation, tools, isAllowed}
let tell = null;

// null: empty or out of range, which the field shows.
function numberOf(input) {
  return input.value === "" || !input.validity.valid ? null : Number(input.value);
}

function build() {
  for (const [name, label, min, max, step] of SAMPLING) {
    const input = h("input", { type: "number", id: `s-${name}`, min: String(min), max: String(max), step: String(step), placeholder: "model's" });
    input.addEventListener("input", () => {
      const value = numberOf(input);
      if (value === null) delete now.settings.sampling[name];
      else now.settings.sampling[name] = value;
      tell.changed();
    });
    $("sampling").append(h("label", {}, `${label} `, input));
  }
}

export function buildSettings(events) {
  tell = events;
  build();
  $("system").addEventListener("input", () => { now.conversation.system = $("system").value; });
  $("system").addEventListener("change", () => tell.conversationChanged());
  $("thinking").addEventListener("change", () => { now.settings.thinking = $("thinking").value; tell.changed(); });
  $("budget").addEventListener("input", () => { now.settings.budget = numberOf($("budget")); tell.changed(); });
  $("rounds").addEventListener("input", () => { now.settings.rounds = numberOf($("rounds")) ?? 8; tell.changed(); });
  $("key").addEventListener("change", () => { apiKey.set($("key").value.trim()); tell.keyChanged(); });
  $("settings").addEventListener("click", (e) => { if (e.target === $("settings")) $("settings").close(); });
}

function toolRow(tool) {
  const { settings, conversation } = now;
  const box = h("input", { type: "checkbox", role: "switch", checked: !settings.toolsOff.includes(tool.name) });
  box.addEventListener("change", () => {
    settings.toolsOff = settings.toolsOff.filter((n) => n !== tool.name);
    if (!box.checked) settings.toolsOff.push(tool.name);
    tell.changed();
  });
  const allowed = h("span", { class: "allowed" });
  if (tool.allow) {
    allowed.append("the operator lets it run without a question");
  } else if (now.isAllowed(conversation, tool.name)) {
    allowed.append("always allowed in this conversation ", h("button", { type: "button", onclick: () => {
      delete conversation.allow[tool.name];
      tell.conversationChanged();
      allowed.replaceChildren();
    } }, "Ask again"));
  }
  return h("li", {}, h("label", {}, box, h("b", {}, tool.name), h("span", { class: "source" }, tool.mcp ? `MCP: ${tool.source}` : "command")),
    h("p", { class: "note" }, tool.description), allowed);
}

export function fillSettings(state) {
  now = state;
  const { settings, conversation, tools } = state;
  $("system").value = conversation.system;
  $("thinking").value = settings.thinking;
  $("budget").value = settings.budget ?? "";
  $("rounds").value = settings.rounds;
  $("key").value = apiKey.get();
  for (const [name] of SAMPLING) $(`s-${name}`).value = settings.sampling[name] ?? "";
  $("tools-section").hidden = !tools.length;
  $("tools").replaceChildren(...tools.map(toolRow));
}
