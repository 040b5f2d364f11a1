// One run: the model answers, calls are asked for and made, it answers again, until it calls nothing more.
import * as api from "./api.js";
import { newId } from "./store.js";

const DENIED = "error: the user did not allow this call", STOPPED = "error: the user stopped the tool";

function isObject(text) {
  try {
    const value = JSON.parse(text);
    return value !== null && typeof value === "object" && !Array.isArray(value);
  } catch {
    return false;
  }
}

// What the model is sent. A call without a result, of a run that was stopped, gets one.
function messagesOf(c) {
  const out = c.system.trim() ? [{ role: "system", content: c.system }] : [];
  const results = new Map(c.messages.filter((m) => m.role === "tool").map((m) => [m.callId, m]));
  for (const m of c.messages) {
    if (m.role === "user") out.push({ role: "user", content: m.content });
    if (m.role !== "assistant" || !(m.content || m.calls.length)) continue;
    out.push({ role: "assistant", content: m.content, ...(m.reasoning ? { reasoning_content: m.reasoning } : {}),
      ...(m.calls.length ? { tool_calls: m.calls.map((k) => ({ id: k.id, type: "function", function: { name: k.name, arguments: k.arguments || "{}" } })) } : {}) });
    for (const k of m.calls) out.push({ role: "tool", tool_call_id: k.id, content: results.get(k.id)?.content ?? STOPPED });
  }
  return out;
}

export class Run {
  // events: changed(message), added(message), asked(call); may(call): "once", "always" or undefined
  constructor(conversation, settings, tools, events) {
    Object.assign(this, { conversation, settings, tools, events, live: null, waiting: new Map(), running: new Set() });
    this.abort = new AbortController();
    this.stopped = false;
  }

  body(mayCall) {
    const s = this.settings;
    const body = { model: s.model || undefined, messages: messagesOf(this.conversation), stream: true,
      stream_options: { include_usage: true }, ...s.sampling };
    if (s.thinking) body.chat_template_kwargs = { enable_thinking: s.thinking === "on" };
    if (s.budget !== null && s.thinking !== "off") body.max_thinking_tokens = s.budget;
    if (this.tools.length) {
      body.tools = this.tools.map(({ name, description, parameters }) => ({ type: "function", function: { name, description, parameters } }));
      body.tool_choice = mayCall ? "auto" : "none";
    }
    return body;
  }

  stop() {
    this.stopped = true;
    this.abort.abort();
    for (const decide of this.waiting.values()) decide("stop");
  }

  // Pieces a second of the answer that is being written, which are about tokens; 0: too early to tell.
  speed() {
    const s = this.live && this.firstAt ? (performance.now() - this.firstAt) / 1000 : 0;
    return s > 0.5 ? this.pieces / s : 0;
  }

  decide(call, answer) {
    this.waiting.get(call)?.(answer);
  }

  stateOf(call, message) {
    return this.waiting.has(call) ? "asking" : this.running.has(call) ? "running" : this.live === message ? "writing" : "idle";
  }

  add(message) {
    this.conversation.messages.push(message);
    this.events.added(message);
  }

  async all() {
    for (let round = 0; ; round++) {
      const message = await this.answer(round < this.settings.rounds);
      if (this.stopped || message.error || !message.calls.length) return;
      await this.makeCalls(message);
      if (this.stopped) return;
    }
  }

  // ---- the model ----

  async answer(mayCall) {
    const message = { role: "assistant", content: "", reasoning: "", calls: [], finish: "", error: "" };
    this.live = message;
    this.pieces = 0;
    this.firstAt = null;
    this.began = performance.now();
    this.add(message);
    try {
      for await (const chunk of api.chat(this.body(mayCall), this.abort.signal)) this.take(message, chunk);
    } catch (e) {
      if (api.isAbort(e) || this.stopped) message.finish = "stopped";
      else message.error = e.message;
      message.status = e.status;
    }
    if (message.error || message.finish === "stopped") message.calls = [];
    if (message.finish === "length") message.calls = message.calls.filter((k) => isObject(k.arguments));
    this.live = null;
    this.thinkingEnds(message);
    this.events.changed(message);
    return message;
  }

  thinkingEnds(message) {
    if (message.reasoning && !message.thinkingMs) message.thinkingMs = performance.now() - this.began;
  }

  take(message, chunk) {
    const choice = chunk.choices?.[0], delta = choice?.delta || {};
    if (delta.reasoning_content || delta.content || delta.tool_calls) {
      this.firstAt ??= performance.now();
      this.pieces++;
    }
    if (delta.reasoning_content) message.reasoning += delta.reasoning_content;
    if (delta.content || delta.tool_calls) this.thinkingEnds(message);
    if (delta.content) message.content += delta.content;
    for (const d of delta.tool_calls || []) this.takeCall(message, d);
    if (choice?.finish_reason) message.finish = choice.finish_reason;
    if (chunk.usage) {
      message.stats = { prompt: chunk.usage.prompt_tokens, cached: chunk.usage.prompt_tokens_details?.cached_tokens || 0,
        completion: chunk.usage.completion_tokens, perSecond: chunk.timings?.predicted_per_second, ms: chunk.timings?.total_ms };
    }
    this.events.changed(message);
  }

  takeCall(message, d) {
    const call = (message.calls[d.index] ??= { id: d.id || newId(), name: "", arguments: "" });
    call.name += d.function?.name || "";
    call.arguments += d.function?.arguments || "";
  }

  // ---- its calls ----

  async makeCalls(message) {
    const results = await Promise.all(message.calls.map((call) => this.makeCall(call, message)));
    for (const r of results) this.add(r);
    this.events.changed(message);
  }

  async makeCall(call, message) {
    const result = (state, content) => ({ role: "tool", callId: call.id, name: call.name, content, state });
    const finished = (r) => { this.done ??= new Map(); this.done.set(call, r); this.events.changed(message); return r; };
    if (!this.tools.some((t) => t.name === call.name)) return finished(result("failed", `error: there is no tool "${call.name}"`));
    if (!isObject(call.arguments || "{}")) return finished(result("failed", "error: the arguments are no JSON object"));
    const answer = this.events.may(call) || await new Promise((resolve) => {
      this.waiting.set(call, resolve);
      this.events.changed(message);
      this.events.asked(call);
    });
    this.waiting.delete(call);
    if (answer === "stop" || this.stopped) return finished(result("stopped", STOPPED));
    if (answer === "deny") return finished(result("denied", DENIED));
    this.running.add(call);
    this.events.changed(message);
    return finished(await this.callServer(call, result));
  }

  async callServer(call, result) {
    try {
      const { content, is_error } = await api.callTool(call.name, call.arguments || "{}", this.abort.signal);
      return result(is_error ? "failed" : "done", content);
    } catch (e) {
      return this.stopped ? result("stopped", STOPPED) : result("failed", `error: ${e.message}`);
    } finally {
      this.running.delete(call);
    }
  }
}
