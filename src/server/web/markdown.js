// Markdown to DOM nodes. Nothing here makes HTML out of text: every piece of it becomes a text node, every
// link is checked, raw HTML and pictures stay text. So what a model writes cannot run or load anything.
import { h, copyButton } from "./dom.js";

const DEPTH_MAX = 8;

// ---- inline -------------------------------------------------------------------------------

function safeUrl(text) {
  try {
    const url = new URL(text);
    return url.protocol === "http:" || url.protocol === "https:" ? url.href : null;
  } catch {
    return null;
  }
}

function link(url, ...children) {
  return h("a", { href: url, target: "_blank", rel: "noopener noreferrer nofollow" }, ...children);
}

const SPANS = [["**", "strong"], ["__", "strong"], ["~~", "del"], ["*", "em"], ["_", "em"]];
const wordAt = (text, i) => i >= 0 && i < text.length && /[\p{L}\p{N}]/u.test(text[i]);
const spaceAt = (text, i) => i < 0 || i >= text.length || /\s/.test(text[i]);

// An underscore inside of a word is a letter.
const opens = (text, i, mark) => !spaceAt(text, i + mark.length) && !(mark[0] === "_" && wordAt(text, i - 1));

// The end of a span that begins at i, or -1: then no later one has an end either.
function closing(text, i, mark) {
  const n = mark.length;
  for (let j = text.indexOf(mark, i + n + 1); j >= 0; j = text.indexOf(mark, j + 1)) {
    if (spaceAt(text, j - 1) || text[j - 1] === "\\") continue;
    if (n === 1 && (text[j + 1] === mark || text[j - 1] === mark)) { j++; continue; }
    if (mark[0] === "_" && wordAt(text, j + n)) continue;
    return j;
  }
  return -1;
}

function codeSpan(text, i) {
  const mark = /^`+/.exec(text.slice(i, i + 20))[0];
  const end = text.indexOf(mark, i + mark.length);
  if (end < 0 || text[end + mark.length] === "`") return null;
  let inner = text.slice(i + mark.length, end).replace(/\n/g, " ");
  if (inner.startsWith(" ") && inner.endsWith(" ") && inner.trim()) inner = inner.slice(1, -1);
  return { node: h("code", {}, inner), end: end + mark.length };
}

const LINK = /!?\[((?:[^[\]\\]|\\.|\[[^[\]]*\]){0,500})\]\(\s*<?([^()\s<>]{1,2000}(?:\([^()\s<>]*\)[^()\s<>]*)?)>?(?:\s+"[^"]*")?\s*\)/y;
const AUTO = /<(https?:\/\/[^\s<>]+)>/iy;
const BARE = /https?:\/\/[^\s<>"'`*]+[^\s<>"'`*.,:;!?)\]}]/iy;

function matchAt(regex, text, i) {
  regex.lastIndex = i;
  return regex.exec(text);
}

function special(text, i, depth, dead) {
  const c = text[i];
  if (c === "\\" && /[!-/:-@[-`{-~]/.test(text[i + 1] || "")) return { node: text[i + 1], end: i + 2 };
  if (c === "\n") return / {2,}$/.test(text.slice(Math.max(0, i - 2), i)) ? { node: h("br"), end: i + 1 } : null;
  if (c === "`") return codeSpan(text, i);
  if (c === "[" || (c === "!" && text[i + 1] === "[")) {
    const m = matchAt(LINK, text, i), url = m && safeUrl(m[2]);
    return url ? { node: link(url, ...inline(m[1], depth + 1)), end: i + m[0].length } : null;
  }
  if (c === "<" || c === "h" || c === "H") {
    const m = c === "<" ? matchAt(AUTO, text, i) : wordAt(text, i - 1) ? null : matchAt(BARE, text, i);
    const url = m && safeUrl(m[1] || m[0]);
    return url ? { node: link(url, m[1] || m[0]), end: i + m[0].length } : null;
  }
  for (const [mark, tag] of SPANS) {
    if (!text.startsWith(mark, i) || dead.has(mark) || !opens(text, i, mark)) continue;
    const end = closing(text, i, mark);
    if (end < 0) {
      dead.add(mark);
      continue;
    }
    return { node: h(tag, {}, ...inline(text.slice(i + mark.length, end), depth + 1)), end: end + mark.length };
  }
  return null;
}

export function inline(text, depth = 0) {
  if (depth > DEPTH_MAX) return [text];
  const out = [], dead = new Set();
  let plain = "";
  for (let i = 0; i < text.length;) {
    const found = /[\\\n`[!<hH*_~]/.test(text[i]) ? special(text, i, depth, dead) : null;
    if (!found) {
      plain += text[i++];
      continue;
    }
    if (typeof found.node === "string") {
      plain += found.node;
    } else {
      if (plain) out.push(plain);
      plain = "";
      out.push(found.node);
    }
    i = found.end;
  }
  if (plain) out.push(plain);
  return out;
}

// ---- blocks -------------------------------------------------------------------------------

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})(?:\s+(.*?))?(?:\s+#+)?\s*$/;
const RULE = /^ {0,3}(?:(?:-\s*){3,}|(?:\*\s*){3,}|(?:_\s*){3,})$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])(?:( {1,4})(?=\S)|\s*$)/;
const TABLE_RULE = /^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/;
const blank = (line) => !line.trim();

function isTable(lines, i) {
  return lines[i].includes("|") && i + 1 < lines.length && lines[i + 1].includes("-") && TABLE_RULE.test(lines[i + 1]) &&
    cells(lines[i]).length === cells(lines[i + 1]).length;
}

const startsBlock = (lines, i) => FENCE.test(lines[i]) || HEADING.test(lines[i]) || RULE.test(lines[i]) ||
  QUOTE.test(lines[i]) || ITEM.test(lines[i]) || isTable(lines, i);

function codeBlock(lines, i) {
  const [, mark, info] = FENCE.exec(lines[i]);
  const end = new RegExp(`^ {0,3}\\${mark[0]}{${mark.length},}\\s*$`);
  let j = i + 1;
  while (j < lines.length && !end.test(lines[j])) j++;
  const text = lines.slice(i + 1, j).join("\n"), language = info.trim().split(/\s/)[0];
  return [j + 1, () => h("div", { class: "code" },
    h("div", { class: "code-head" }, h("span", {}, language), copyButton(() => text, "Copy the code")),
    h("pre", { tabindex: "0" }, h("code", {}, text)))];
}

function cells(line) {
  const out = [];
  let cell = "", code = false;
  for (let i = 0; i < line.length; i++) {
    if (line[i] === "\\" && line[i + 1] === "|") { cell += "|"; i++; continue; }
    if (line[i] === "`") code = !code;
    if (line[i] === "|" && !code) { out.push(cell); cell = ""; } else cell += line[i];
  }
  out.push(cell);
  if (blank(out[0])) out.shift();
  if (out.length && blank(out[out.length - 1])) out.pop();
  return out.map((c) => c.trim());
}

function table(lines, i) {
  const head = cells(lines[i]);
  const align = cells(lines[i + 1]).map((c) => (/^:.*:$/.test(c) ? "center" : /:$/.test(c) ? "right" : ""));
  let j = i + 2;
  while (j < lines.length && lines[j].includes("|") && !blank(lines[j])) j++;
  const rows = lines.slice(i + 2, j);
  const row = (tag, line) => h("tr", {}, ...head.map((_, k) =>
    h(tag, align[k] ? { class: align[k] } : {}, ...inline(line[k] || ""))));
  return [j, () => h("div", { class: "table", tabindex: "0" }, h("table", {}, h("thead", {}, row("th", head)),
    h("tbody", {}, ...rows.map((r) => row("td", cells(r))))))];
}

function quote(lines, i, depth) {
  let j = i;
  const inner = [];
  while (j < lines.length && (QUOTE.test(lines[j]) || (j > i && !blank(lines[j]) && !startsBlock(lines, j))))
    inner.push(lines[j++].replace(QUOTE, ""));
  return [j, () => h("blockquote", {}, ...build(inner, depth + 1))];
}

const indentOf = (line) => line.length - line.trimStart().length;

// One item's lines without the marker, and where the next begins.
function item(lines, i, width) {
  const inner = [lines[i].slice(width)];
  let j = i + 1, loose = false;
  for (; j < lines.length; j++) {
    if (blank(lines[j])) { inner.push(""); continue; }
    if (indentOf(lines[j]) >= width) { inner.push(lines[j].slice(width)); continue; }
    if (ITEM.test(lines[j]) || blank(lines[j - 1]) || startsBlock(lines, j)) break;
    inner.push(lines[j].trimStart());
  }
  while (inner.length > 1 && blank(inner[inner.length - 1])) inner.pop();
  if (inner.some((line, k) => k > 0 && blank(line) && !ITEM.test((inner[k + 1] || "").trimStart()))) loose = true;
  return { inner, j, loose };
}

function list(lines, i, depth) {
  const first = ITEM.exec(lines[i]), ordered = /\d/.test(first[2]), kind = first[2].slice(-1);
  const items = [];
  let j = i, loose = false;
  for (;;) {
    const m = j < lines.length && !RULE.test(lines[j]) && ITEM.exec(lines[j]);
    if (!m || m[2].slice(-1) !== kind) break;
    const one = item(lines, j, m[1].length + m[2].length + (m[3] ? m[3].length : 1));
    items.push(one.inner);
    loose = loose || one.loose;
    j = one.j;
  }
  const start = ordered ? parseInt(first[2], 10) : 1;
  return [j, () => h(ordered ? "ol" : "ul", start !== 1 ? { start: String(start) } : {}, ...items.map((inner) =>
    h("li", {}, ...build(inner, depth + 1, !loose))))];
}

function paragraph(lines, i, tight) {
  let j = i + 1;
  while (j < lines.length && !blank(lines[j]) && !startsBlock(lines, j)) j++;
  const text = lines.slice(i, j).map((line) => line.trimStart()).join("\n").trimEnd();
  return [j, () => (tight ? h("span", {}, ...inline(text)) : h("p", {}, ...inline(text)))];
}

function heading(line) {
  const [, marks, text] = HEADING.exec(line);
  // The page's own headings are h1 to h3.
  return h(`h${Math.min(6, marks.length + 3)}`, { class: `h${marks.length}` }, ...inline(text || ""));
}

// [{source, make}]: a block is made of its source alone.
function parse(lines, depth, tight) {
  const out = [];
  for (let i = 0; i < lines.length;) {
    if (blank(lines[i])) { i++; continue; }
    let next, make;
    if (FENCE.test(lines[i])) [next, make] = codeBlock(lines, i);
    else if (HEADING.test(lines[i])) { const line = lines[i]; [next, make] = [i + 1, () => heading(line)]; }
    else if (RULE.test(lines[i])) [next, make] = [i + 1, () => h("hr")];
    else if (QUOTE.test(lines[i]) && depth < DEPTH_MAX) [next, make] = quote(lines, i, depth);
    else if (ITEM.test(lines[i]) && depth < DEPTH_MAX) [next, make] = list(lines, i, depth);
    else if (isTable(lines, i)) [next, make] = table(lines, i);
    else [next, make] = paragraph(lines, i, tight);
    out.push({ source: lines.slice(i, next).join("\n"), make });
    i = next;
  }
  return out;
}

const build = (lines, depth, tight = false) => parse(lines, depth, tight).map((b) => b.make());

const shown = new WeakMap();

// Shows `text` in `element`. Blocks that are as they were stay, so that a stream is cheap to follow and what
// was selected stays so.
export function render(element, text) {
  const before = shown.get(element) || [], now = parse(text.replace(/\r\n?/g, "\n").replace(/\t/g, "    ").split("\n"), 0);
  let same = 0;
  while (same < before.length && same < now.length && before[same] === now[same].source) same++;
  while (element.childNodes.length > same) element.lastChild.remove();
  for (const b of now.slice(same)) element.append(b.make());
  shown.set(element, now.map((b) => b.source));
}
