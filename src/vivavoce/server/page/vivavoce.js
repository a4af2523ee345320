/**
 * The client of a vivavoce server: speech to text over /v1/stream, text to speech over /api/tts_streaming.
 *
 * One ES module without dependencies, for browsers and for Node from version 22 on. docs/clients.md is its manual.
 * Times are seconds of the audio that the caller gave or got. Samples are Float32Array, mono, full scale ±1.
 */

export const SPEECH_RATE = 24_000; // Hz, of what a TtsStream says

/** What a close code stands for, and whether connecting again can help; a test holds it to the server's own table. */
export const FAULTS = {
  1000: { code: "normal", retry: false },
  1001: { code: "going_away", retry: true },
  1002: { code: "protocol", retry: false },
  1009: { code: "too_large", retry: false },
  1011: { code: "internal", retry: true },
  1013: { code: "overloaded", retry: true },
  4000: { code: "capacity", retry: true },
  4001: { code: "unauthenticated", retry: false },
  4002: { code: "session_timeout", retry: false },
  4003: { code: "invalid_message", retry: false },
  4004: { code: "rate_limited", retry: true },
  4005: { code: "unavailable", retry: true },
  4006: { code: "client_timeout", retry: true },
  4008: { code: "slow_reader", retry: true },
  4009: { code: "unknown_session", retry: false },
  4010: { code: "unprocessable", retry: false },
  4011: { code: "quota_exceeded", retry: false },
};
const LOST = { code: "connection_lost", retry: true };

const KEEPALIVE = 5; // seconds without anything to send
const PIECE = 1; // seconds of audio in the longest message
const FULL_SOCKET = 1 << 20; // bytes that the socket holds; then nothing more is given to it
const FIRST_WAIT = 0.25; // seconds before the first new attempt; twice that before the next, and so on
const LONGEST_WAIT = 10;
const SUBPROTOCOL = /^[\w!#$%&'*+.^`|~-]+$/; // what a browser lets through as a websocket's subprotocol

/** Why a stream or a request has ended before its end. */
export class StreamError extends Error {
  /** `code` is the server's name of the fault, or connection_failed, connection_lost; `closeCode` a websocket's. */
  constructor(message, { code, closeCode = null, retry = false, hint = "", retryAfter = null }) {
    super(message);
    this.name = "StreamError";
    Object.assign(this, { code, closeCode, retry, hint, retryAfter });
  }
}

/**
 * A stream of speech to text, which goes on over connections that break.
 *
 * `url` is the server's, http or ws. Options, all of them optional: `key` (or a token), `sampleRate` (24000) of what is
 * sent, `words` (true), `vad`, `vadHead`, `vadThreshold`, `temperature`, `seed`, `guard` ("flag" or "drop"), `keyTerms`
 * (a list of words and phrases that are likely, "Kyutai" or with a boost "Kyutai:2"), `resume` (true), `live` (false:
 * `send` waits while the server is behind; true: what does not fit is dropped, oldest first), `path` ("v1/stream"), and
 * in seconds `again` (60), for which a lost connection is tried again, and `keep` (60) of audio held meanwhile.
 */
export function listen(url, options = {}) {
  return new SttStream(url, options);
}

/**
 * A stream of text to speech. Options: `key`, `voice`, `seed`, `temperature`, `topK`, `cfgAlpha`,
 * `path` ("api/tts_streaming"). A connection that breaks ends it.
 */
export function speak(url, options = {}) {
  return new TtsStream(url, options);
}

/** `{text, words: [{text, start, stop, confidence}], duration}` of a recording (a Blob or bytes of any audio file). */
export async function transcribe(url, file, { key, signal, path = "v1/transcribe" } = {}) {
  return (await request(url, path, { method: "POST", body: file, signal }, key)).json();
}

/** `{voices: [name, …], default: name}`. */
export async function voices(url, { key, path = "api/tts/voices" } = {}) {
  return (await request(url, path, {}, key)).json();
}

async function request(url, path, how, key) {
  let answer;
  try {
    answer = await fetch(address(url, path), { ...how, headers: key ? { authorization: `Bearer ${key}` } : {} });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new StreamError(`no answer from ${new URL(url).host}`, { code: "connection_failed", retry: true });
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  const code = told.error === "unauthorized" ? "unauthenticated" : (told.error ?? "internal");
  throw new StreamError(told.message ?? `${answer.status} ${answer.statusText}`, {
    code,
    retry: Object.values(FAULTS).some((fault) => fault.code === code && fault.retry),
    hint: told.hint ?? "",
    retryAfter: Number(answer.headers.get("retry-after")) || null,
  });
}

function address(url, path, query = {}) {
  const found = new URL(path, String(url).replace(/^ws/, "http").replace(/\/*$/, "/"));
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined || value === null) continue;
    found.searchParams.delete(name);
    for (const one of [value].flat()) found.searchParams.append(name, one);
  }
  return found;
}

/** Keys travel as a subprotocol, which no log keeps; one that cannot be spelt so, in the query. */
function openSocket(url, path, query, key) {
  const spelt = key && SUBPROTOCOL.test(key);
  const target = address(url, path, key && !spelt ? { ...query, auth_id: key } : query);
  target.protocol = target.protocol.replace("http", "ws");
  const socket = spelt ? new WebSocket(target, ["bearer", key]) : new WebSocket(target);
  socket.binaryType = "arraybuffer";
  return socket;
}

const clock = () => performance.now() / 1000;
const sleep = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

/** Events between the socket and whoever iterates. */
class Inbox {
  over = false;
  error = null;
  #events = [];
  #wake = null;

  put(event) {
    if (this.over) return;
    this.#events.push(event);
    this.#wake?.();
  }

  end(error = null) {
    if (this.over) return;
    this.over = true;
    this.error = error;
    this.#wake?.();
  }

  drop(unwanted) {
    this.#events = this.#events.filter((event) => !unwanted(event));
  }

  async *events() {
    for (;;) {
      while (this.#events.length) yield this.#events.shift();
      if (this.over) break;
      await new Promise((wake) => (this.#wake = wake));
    }
    if (this.error) throw this.error;
  }
}

/** What was said and the server may not have yet. Items are audio, flushes and the end, in order; places in samples. */
class Backlog {
  pushed = 0; // samples, on the caller's clock
  position = 0; // samples sent in this session
  endSent = false;
  #flushes = 0; // sent in this session
  #waiting = [];
  #sent = []; // and not acknowledged
  #shifts = []; // [from this sample of the session on, samples that the caller's clock is ahead]

  constructor(keeps) {
    this.keeps = keeps; // sent audio until it is acknowledged
  }

  get waiting() {
    return samplesOf(this.#waiting);
  }

  get held() {
    return samplesOf(this.#waiting) + samplesOf(this.#sent);
  }

  push(samples, piece) {
    for (let start = 0; start < samples.length; start += piece) {
      const part = samples.slice(start, start + piece);
      this.#waiting.push({ at: this.pushed, samples: part });
      this.pushed += part.length;
    }
  }

  append(item) {
    this.#waiting.push(item);
  }

  next() {
    const item = this.#waiting.shift();
    if (!item) return null;
    if (this.keeps || !item.samples) this.#sent.push({ item, start: this.position, number: this.#flushes });
    if (item.samples) {
      this.#note(item.at - this.position);
      this.position += item.samples.length;
    } else if (item.end) this.endSent = true;
    else this.#flushes += 1;
    return item;
  }

  acknowledge(samples) {
    while (this.#sent.length && isBehind(this.#sent[0], samples)) this.#sent.shift();
  }

  answered(id) {
    this.#sent = this.#sent.filter(({ item }) => !("flush" in item && item.flush === id));
  }

  /** Throw waiting audio away, oldest first, until `limit` samples are held: how many went, and where. */
  drop(limit) {
    const gone = { start: this.pushed, samples: 0 };
    for (const item of this.#waiting.filter(({ samples }) => samples)) {
      if (this.held <= limit) break;
      this.#waiting.splice(this.#waiting.indexOf(item), 1);
      gone.start = Math.min(gone.start, item.at);
      gone.samples += item.samples.length;
    }
    return gone;
  }

  /** The session goes on where the server has so much; the samples after that which are not held any more. */
  rewind(samples, flushes, ended) {
    const again = [];
    for (const { item, start, number } of this.#sent) {
      if (item.samples) {
        const known = Math.max(0, samples - start);
        if (known < item.samples.length) again.push({ at: item.at + known, samples: item.samples.slice(known) });
      } else if (item.end ? !ended : number >= flushes) again.push(item);
    }
    const oldest = this.#sent.find(({ item }) => item.samples)?.start ?? this.position;
    [this.position, this.#flushes, this.endSent] = [samples, flushes, ended];
    this.#shifts = this.#shifts.filter(([from]) => from < samples);
    this.#resend(again);
    return Math.max(0, oldest - samples);
  }

  /** Another session goes on with what is held from the caller's sample `heard` on; where it begins. */
  restart(heard) {
    const again = this.#sent.map(({ item }) => item);
    [this.position, this.#flushes, this.endSent, this.#shifts] = [0, 0, false, []];
    this.#resend(again.filter((item) => !(item.samples && item.at + item.samples.length <= heard)));
    return this.#waiting.find(({ samples }) => samples)?.at ?? this.pushed;
  }

  /** A place of the session on the caller's clock, in samples. */
  caller(place) {
    const shift = this.#shifts.findLast(([from]) => from <= place);
    return place + (shift ? shift[1] : 0);
  }

  #note(shift) {
    if (shift !== (this.#shifts.at(-1)?.[1] ?? 0)) this.#shifts.push([this.position, shift]);
  }

  #resend(items) {
    this.#sent = [];
    this.#waiting = [...items, ...this.#waiting];
  }
}

function samplesOf(items) {
  return items.reduce((sum, { samples, item }) => sum + ((samples ?? item?.samples)?.length ?? 0), 0);
}

function isBehind({ item, start }, samples) {
  return item.samples ? start + item.samples.length <= samples : !item.end && start < samples;
}

function pcm16(samples) {
  return Int16Array.from(samples, (sample) => Math.round(32_767 * Math.max(-1, Math.min(1, sample))));
}

/**
 * `for await (const event of stream)`: the server's messages of docs/protocols.md (token, word_start, word, word_dropped, vad,
 * vad_start, vad_end, vad_resume, flushed, healed, error), and connected, disconnected, gap, dropped. Iteration throws the
 * StreamError that ended it early.
 */
class SttStream {
  session = null; // the server's name for it
  model = null;
  connections = 0;
  #url;
  #options;
  #inbox = new Inbox();
  #backlog;
  #socket = null;
  #stands = false; // the server has greeted
  #ended = false;
  #finished = false;
  #seq = 0;
  #heard = 0; // seconds up to which the server has told something
  #known = 0; // samples that it had when the session was last resumed
  #progress = false; // since the last failure
  #told = null; // its last error message on this connection
  #sentAt = 0;
  #later = null; // the timer of a socket that is full
  #changed = new Set(); // who waits for room

  constructor(url, options) {
    this.#url = url;
    this.#options = { sampleRate: 24_000, words: true, resume: true, live: false, again: 60, keep: 60, ...options };
    this.#backlog = new Backlog(this.#options.resume);
    this.#stayConnected();
  }

  /** Seconds of audio taken so far. */
  get duration() {
    return this.#seconds(this.#backlog.pushed);
  }

  /** More audio; waits while the server is behind, unless the stream is live. */
  async send(samples) {
    this.#refuseAfterEnd("audio");
    this.#backlog.push(pcm16(samples), PIECE * this.#options.sampleRate);
    this.#pump();
    if (this.#options.live) this.#overflow();
    else while (!this.#inbox.over && !this.#hasRoom()) await new Promise((done) => this.#changed.add(done));
    if (this.#inbox.error) throw this.#inbox.error;
  }

  /** Everything said so far, now; `{type: "flushed", id}` follows the last word. An integer or a text. */
  flush(id = 0) {
    this.#refuseAfterEnd("flush");
    this.#backlog.append({ flush: id });
    this.#pump();
  }

  /** No more audio will come; the last words follow, then the iteration ends. */
  end() {
    if (this.#ended) return;
    this.#ended = true;
    this.#backlog.append({ end: true });
    this.#pump();
  }

  /** Leave at once. */
  close() {
    this.#over();
    this.#socket?.close(1000);
  }

  [Symbol.asyncIterator]() {
    return this.#inbox.events();
  }

  #seconds(samples) {
    return samples / this.#options.sampleRate;
  }

  #refuseAfterEnd(what) {
    if (this.#inbox.error) throw this.#inbox.error;
    if (this.#ended || this.#inbox.over) throw new Error(`the stream has ended: no ${what} is taken after its end`);
  }

  #hasRoom() {
    const { sampleRate, keep } = this.#options;
    return this.#backlog.waiting < sampleRate && this.#backlog.held < keep * sampleRate;
  }

  #overflow() {
    const { sampleRate, keep } = this.#options;
    const { start, samples } = this.#backlog.drop(keep * sampleRate);
    if (samples) this.#inbox.put({ type: "dropped", start: this.#seconds(start), seconds: this.#seconds(samples) });
  }

  #over(error = null) {
    this.#inbox.end(error);
    this.#room();
  }

  #room() {
    for (const done of this.#changed) done();
    this.#changed.clear();
  }

  async #stayConnected() {
    let since = clock();
    let attempts = 0;
    while (!this.#inbox.over) {
      [this.#told, this.#progress] = [null, false];
      const closed = await this.#connection();
      if (this.#finished) return this.#over();
      if (this.#inbox.over) return;
      const error = this.#explain(closed);
      if (error.code === "unknown_session" && this.session) {
        this.session = null;
        continue;
      }
      if (this.#progress) [since, attempts] = [clock(), 0];
      const retryIn = (error.retryAfter ?? 0) + backoff(attempts++);
      if (!error.retry || !this.connections || clock() - since + retryIn > this.#options.again) return this.#over(error);
      this.#inbox.put({ type: "disconnected", code: error.code, message: error.message, retryIn });
      await sleep(retryIn);
    }
  }

  /** One connection, from its handshake to its end: the close event. */
  #connection() {
    const { key, path = "v1/stream", ...asked } = this.#options;
    const socket = openSocket(this.#url, path, this.#query(asked), key);
    this.#socket = socket;
    const alive = setInterval(() => this.#stay(), 1000);
    return new Promise((ended) => {
      socket.onmessage = ({ data }) => this.#hear(JSON.parse(data));
      socket.onclose = (closed) => {
        clearInterval(alive);
        clearTimeout(this.#later);
        this.#stands = false;
        this.#later = null;
        ended(closed);
      };
    });
  }

  #query({ sampleRate, words, vad, vadHead, vadThreshold, temperature, seed, guard, resume, keyTerms }) {
    return {
      format: "pcm_s16le", sample_rate: sampleRate, words, vad, vad_head: vadHead, vad_threshold: vadThreshold,
      temperature, seed, guard, resume, keyterm: keyTerms, refusal: "close",
      ...(this.session && { session: this.session, seq: this.#seq }),
    };
  }

  #explain({ code: closeCode, reason }) {
    const told = this.#told ?? {};
    const { code, retry } = FAULTS[closeCode] ?? LOST;
    if (!FAULTS[closeCode] && !this.connections) {
      return new StreamError(`no stream at ${new URL(this.#url).host}`, { code: "connection_failed", closeCode });
    }
    return new StreamError(told.message || reason || "the connection was lost", {
      code: told.code ?? code, closeCode, retry, hint: told.hint, retryAfter: told.retry_after,
    });
  }

  #stay() {
    if (this.#stands && clock() - this.#sentAt >= KEEPALIVE) this.#tell({ type: "keepalive" });
  }

  #tell(message) {
    this.#socket.send(JSON.stringify(message));
    this.#sentAt = clock();
  }

  #pump() {
    clearTimeout(this.#later);
    while (this.#stands && this.#socket.readyState === 1) {
      if (this.#socket.bufferedAmount > FULL_SOCKET) {
        this.#later = setTimeout(() => this.#pump(), 50);
        return;
      }
      const item = this.#backlog.next();
      if (!item) break;
      if (item.samples) {
        this.#socket.send(item.samples);
        this.#sentAt = clock();
      } else this.#tell(item.end ? { type: "eos" } : { type: "flush", id: item.flush });
    }
    this.#room();
  }

  #hear(message) {
    const { seq, ...event } = message;
    if (seq !== undefined) this.#seq = seq;
    switch (event.type) {
      case "ready":
        return this.#greeted(event);
      case "ack":
        this.#progress = true;
        this.#backlog.acknowledge(event.samples);
        return this.#room();
      case "ping":
        return undefined;
      case "error":
        this.#told = event;
        return this.#inbox.put(event);
      case "end":
        this.#finished = true;
        return undefined;
      case "flushed":
        this.#backlog.answered(event.id);
    }
    this.#progress = true;
    return this.#inbox.put(this.#onTheCallersClock(event));
  }

  #greeted({ session, model, samples, flushes, ended }) {
    const resumed = this.session !== null;
    if (resumed) {
      this.#progress = samples > this.#known;
      this.#known = samples;
      const lost = this.#backlog.rewind(samples, flushes, ended);
      if (lost) this.#gap(this.#seconds(this.#backlog.caller(samples)), this.#seconds(lost));
    } else if (this.connections) {
      [this.#known, this.#seq] = [0, 0];
      const begins = this.#seconds(this.#backlog.restart(this.#heard * this.#options.sampleRate));
      if (begins > this.#heard) this.#gap(this.#heard, begins - this.#heard);
    }
    this.session = this.#options.resume ? session : null;
    this.model = model;
    this.connections += 1;
    this.#inbox.put({ type: "connected", session, model, resumed });
    this.#stands = true;
    this.#pump();
  }

  #gap(start, seconds) {
    this.#inbox.put({ type: "gap", start, stop: start + seconds });
  }

  #onTheCallersClock(event) {
    const { sampleRate } = this.#options;
    for (const name of ["start", "stop", "time"]) {
      if (name in event) event[name] = this.#backlog.caller(event[name] * sampleRate) / sampleRate;
    }
    this.#heard = Math.max(this.#heard, event.stop ?? event.time ?? 0);
    return event;
  }
}

function backoff(attempts) {
  return Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** attempts) * (0.5 + 0.5 * Math.random());
}

/**
 * `for await (const event of stream)`: `{type: "audio", samples}` of 80 ms, `{type: "word", text, start, stop}`,
 * `{type: "flushed", id}`, `{type: "cleared"}`, `{type: "error", message}` of a text that cannot be said.
 */
class TtsStream {
  #url;
  #options;
  #inbox = new Inbox();
  #socket;
  #opened; // a promise
  #stands = false;
  #rest = ""; // of a text: perhaps half a word
  #flushes = []; // ids that are not answered, in order
  #clears = 0; // that are not answered
  #given = 0; // samples
  #shift = 0; // seconds that were dropped here, and the server counts
  #ended = false;
  #told = null; // the server's last error message

  constructor(url, options) {
    this.#url = url;
    this.#options = options;
    const { key, path = "api/tts_streaming", voice, seed, temperature, topK, cfgAlpha } = options;
    const query = { format: "PcmMessagePack", voice, seed, temperature, top_k: topK, cfg_alpha: cfgAlpha };
    this.#socket = openSocket(url, path, query, key);
    this.#opened = new Promise((opened) => {
      this.#socket.onopen = opened;
      this.#socket.onmessage = ({ data }) => this.#hear(unpack(data));
      this.#socket.onclose = (closed) => {
        clearInterval(this.#alive);
        this.#close(closed).finally(opened);
      };
    });
  }

  #alive = setInterval(() => this.#stands && this.#send(""), 1000 * KEEPALIVE);

  /** Seconds of audio that have come. */
  get duration() {
    return this.#given / SPEECH_RATE;
  }

  /** More text, cut anywhere; a last word waits for what follows it. */
  say(text) {
    this.#refuseAfterEnd();
    const all = this.#rest + text;
    const cut = all.search(/\S*$/);
    this.#rest = all.slice(cut);
    if (cut) this.#send(all.slice(0, cut));
  }

  /** All text so far is spoken to its end; `{type: "flushed", id}` follows the last of its audio. */
  flush(id = 0) {
    this.#sayRest();
    this.#flushes.push(id);
    this.#send(Uint8Array.of(2));
  }

  /** The listener has interrupted: what was not read or spoken is dropped, what is said next is spoken. */
  clear() {
    this.#refuseAfterEnd();
    this.#rest = "";
    this.#clears += 1;
    this.#inbox.drop((event) => event.type === "audio" && this.#forget(event.samples));
    this.#send(Uint8Array.of(1));
  }

  /** No more text will come; the rest is spoken, then the iteration ends. */
  end() {
    if (this.#ended) return;
    this.#sayRest();
    this.#ended = true;
    this.#send(Uint8Array.of(0));
  }

  /** Leave at once. */
  close() {
    this.#inbox.end();
    this.#socket.close(1000);
  }

  [Symbol.asyncIterator]() {
    return this.#inbox.events();
  }

  #refuseAfterEnd() {
    if (this.#inbox.error) throw this.#inbox.error;
    if (this.#ended || this.#inbox.over) throw new Error("the stream has ended: nothing is taken after its end");
  }

  #sayRest() {
    this.#refuseAfterEnd();
    if (this.#rest) this.#send(this.#rest);
    this.#rest = "";
  }

  #send(message) {
    this.#opened.then(() => this.#socket.readyState === 1 && this.#socket.send(message));
  }

  #hear(message) {
    switch (message.type) {
      case "Ready":
        this.#stands = true;
        break;
      case "Audio": {
        const samples = Float32Array.from(message.pcm);
        this.#given += samples.length;
        if (this.#clears) this.#forget(samples);
        else this.#inbox.put({ type: "audio", samples });
        break;
      }
      case "Text": {
        const [start, stop] = [message.start_s, message.stop_s].map((time) => Math.max(0, time - this.#shift));
        this.#inbox.put({ type: "word", text: message.text, start, stop });
        break;
      }
      case "Flush":
        this.#inbox.put({ type: "flushed", id: this.#flushes.shift() });
        break;
      case "Clear":
        this.#clears -= 1;
        this.#inbox.put({ type: "cleared" });
        break;
      case "Error":
        this.#told = message.message;
        this.#inbox.put({ type: "error", message: message.message });
    }
  }

  #forget(samples) {
    this.#given -= samples.length;
    this.#shift += samples.length / SPEECH_RATE;
    return true;
  }

  async #close({ code: closeCode, reason }) {
    if (this.#ended && this.#stands && [1000, 1005].includes(closeCode)) return this.#inbox.end();
    if (!this.#stands && closeCode === 1006) return this.#inbox.end(await this.#whyNot());
    const { code, retry } = FAULTS[closeCode] ?? LOST;
    return this.#inbox.end(
      new StreamError(reason || this.#told || "the connection was lost", { code, closeCode, retry }),
    );
  }

  /** A browser does not say why a handshake was refused; a request that is refused for the same reason does. */
  async #whyNot() {
    const { key, voice, path = "api/tts_streaming" } = this.#options;
    try {
      const known = await voices(this.#url, { key, path: `${path.replace(/_streaming$/, "")}/voices` });
      if (voice && !known.voices.includes(voice)) {
        return new StreamError(`there is no voice ${voice}`, { code: "unknown_voice", closeCode: 1006 });
      }
    } catch (error) {
      return error;
    }
    return new StreamError("the server has refused the stream", { code: "connection_failed", closeCode: 1006 });
  }
}

const TEXT = new TextDecoder();

/** One value of MessagePack, of what the server writes: maps, arrays, texts, bytes, numbers. */
function unpack(data) {
  const view = new DataView(data);
  let at = 0;
  const read = (bytes, get) => get.call(view, (at += bytes) - bytes);
  const size = (bits) => read(bits / 8, view[`getUint${bits}`]);
  const bytes = (length) => new Uint8Array(data, (at += length) - length, length);
  const text = (length) => TEXT.decode(bytes(length));
  const list = (length) => Array.from({ length }, value);
  const map = (length) => Object.fromEntries(Array.from({ length }, () => [value(), value()]));
  function value() {
    const tag = size(8);
    if (tag < 0x80) return tag;
    if (tag < 0x90) return map(tag & 15);
    if (tag < 0xa0) return list(tag & 15);
    if (tag < 0xc0) return text(tag & 31);
    if (tag >= 0xe0) return tag - 256;
    switch (tag) {
      case 0xc0: return null;
      case 0xc2: return false;
      case 0xc3: return true;
      case 0xc4: return bytes(size(8));
      case 0xc5: return bytes(size(16));
      case 0xc6: return bytes(size(32));
      case 0xca: return read(4, view.getFloat32);
      case 0xcb: return read(8, view.getFloat64);
      case 0xcc: return size(8);
      case 0xcd: return size(16);
      case 0xce: return size(32);
      case 0xcf: return Number(read(8, view.getBigUint64));
      case 0xd0: return read(1, view.getInt8);
      case 0xd1: return read(2, view.getInt16);
      case 0xd2: return read(4, view.getInt32);
      case 0xd3: return Number(read(8, view.getBigInt64));
      case 0xd9: return text(size(8));
      case 0xda: return text(size(16));
      case 0xdb: return text(size(32));
      case 0xdc: return list(size(16));
      case 0xdd: return list(size(32));
      case 0xde: return map(size(16));
      case 0xdf: return map(size(32));
      default: throw new Error(`MessagePack of an unknown kind, ${tag}`);
    }
  }
  return value();
}
