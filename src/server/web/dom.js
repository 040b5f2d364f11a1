// What makes nodes. Text goes in as text; there is no way from a string to HTML.

const ICONS = {
  plus: "M12 5v14M5 12h14", close: "M6 6l12 12M18 6L6 18", menu: "M4 7h16M4 12h16M4 17h16",
  send: "M12 19V5M6 11l6-6 6 6", down: "M12 5v14M6 13l6 6 6-6", stop: "M8 8h8v8H8z",
  settings: "M4 7h9M17 7h3M4 17h3M11 17h9M15 4.5v5M9 14.5v5",
  copy: "M9 9h10v11H9zM15 9V4H5v11h4", check: "M5 12.5l4.5 4.5L19 7.5", again: "M19 12a7 7 0 1 1-2.2-5.1M19 4v4h-4",
  edit: "M5 19l1-4L16 5l3 3L9 18zM14 7l3 3", trash: "M5 7h14M10 7V5h4v2M7 7l1 13h8l1-13", save: "M12 4v11M7 11l5 5 5-5M5 20h14",
  tool: "M14.5 6.5a4 4 0 0 0-5 5L4 17l3 3 5.5-5.5a4 4 0 0 0 5-5L15 12l-3-3z",
};

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

// h("button", { class: "x", type: "button", onclick: f }, "text", node)
export function h(tag, props = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) e.addEventListener(name.slice(2), value);
    else e.setAttribute(name, value === true ? "" : value);
  }
  e.append(...children.filter((c) => c !== null && c !== undefined && c !== false));
  return e;
}

export const $ = (id) => document.getElementById(id);

export function iconButton(name, label, onclick) {
  return h("button", { class: "icon small", type: "button", "aria-label": label, title: label, onclick }, icon(name));
}

async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Not over plain HTTP from another machine.
  const area = h("textarea", { class: "hidden" });
  area.value = text;
  document.body.append(area);
  area.select();
  const ok = document.execCommand("copy");
  area.remove();
  if (!ok) throw new Error("not copied");
}

export function copyButton(text, label) {
  const button = iconButton("copy", label, async () => {
    try {
      await copy(text());
      button.replaceChildren(icon("check"));
      announce("Copied.");
    } catch {
      announce("It could not be copied.");
    }
    setTimeout(() => button.replaceChildren(icon("copy")), 1500);
  });
  return button;
}

// For those who hear the page.
export function announce(text) {
  const live = $("live");
  while (live.childNodes.length > 20) live.firstChild.remove();
  live.append(h("p", {}, text));
}
