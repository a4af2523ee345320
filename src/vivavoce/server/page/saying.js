/** Type and hear it; the words light up as they are spoken. */

import { Transcript } from "./transcript.js";
import { SPEECH_RATE, speak, voices } from "./vivavoce.js";

const $ = (id) => document.getElementById(id);
const RESERVE = 0.2; // seconds between the first audio and its sound

export class Saying {
  #server;
  #path;
  #words = new Transcript($("said"));
  #stream = null;
  #context = null;

  constructor(server) {
    this.#server = server;
    $("say").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#say($("text").value);
    });
    $("text").addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("say").requestSubmit();
    });
    $("hush").addEventListener("click", () => this.#hush());
  }

  /** `path` is that of a model that speaks; undefined where there is none. */
  async offered(path) {
    this.#path = path?.replace(/^\//, "");
    $("say-it").disabled = $("text").disabled = !path;
    $("say-state").textContent = path ? "" : "Text to speech is off on this server.";
    if (!path) return;
    const known = await voices(this.#server.url, {
      key: this.#server.key, path: `${this.#path.replace(/_streaming$/, "")}/voices`,
    }).catch(() => ({ voices: [] }));
    $("voice").replaceChildren(...known.voices.map((name) => new Option(name, name, false, name === known.default)));
    $("voice-field").hidden = known.voices.length < 2;
  }

  async #say(text) {
    this.#hush();
    this.#server.fine();
    this.#words.clear();
    $("wav").hidden = true;
    if (!text.trim()) return;
    const context = (this.#context = new AudioContext({ sampleRate: SPEECH_RATE }));
    const voice = $("voice").value || undefined;
    const stream = (this.#stream = speak(this.#server.url, { key: this.#server.key, path: this.#path, voice }));
    const samples = [];
    let began = null; // when its first sample sounds, on the context's clock
    let ends = 0;
    $("hush").disabled = false;
    $("say-state").textContent = "Speaking";
    const light = () => {
      if (this.#stream !== stream) return;
      if (began !== null) this.#words.light(context.currentTime - began);
      requestAnimationFrame(light);
    };
    light();
    let failure = null;
    try {
      stream.say(text);
      stream.end();
      for await (const event of stream) {
        if (event.type === "word") this.#words.add({ text: event.text, start: event.start, stop: event.stop });
        else if (event.type === "error") failure = event;
        else if (event.type === "audio") {
          samples.push(event.samples);
          began ??= ends = context.currentTime + RESERVE;
          const late = context.currentTime - ends;
          if (late > 0) [began, ends] = [began + late, ends + late]; // the server is slower than speech
          ends = play(context, event.samples, ends);
        }
      }
    } catch (error) {
      failure = error;
    }
    if (this.#stream !== stream) return;
    if (failure) this.#server.failed(failure);
    if (samples.length) offerWav(samples);
    setTimeout(() => this.#stream === stream && this.#hush(), 1000 * Math.max(0, ends - context.currentTime));
  }

  #hush() {
    this.#stream?.close();
    this.#context?.close();
    [this.#stream, this.#context] = [null, null];
    this.#words.light(-1);
    $("hush").disabled = true;
    $("say-state").textContent = "";
  }
}

function play(context, samples, at) {
  const buffer = context.createBuffer(1, samples.length, SPEECH_RATE);
  buffer.copyToChannel(samples, 0);
  const source = new AudioBufferSourceNode(context, { buffer });
  source.connect(context.destination);
  source.start(at);
  return at + buffer.duration;
}

function offerWav(blocks) {
  const size = 2 * blocks.reduce((sum, { length }) => sum + length, 0);
  const head = new DataView(new ArrayBuffer(44));
  const text = (at, letters) => [...letters].forEach((letter, more) => head.setUint8(at + more, letter.charCodeAt(0)));
  text(0, "RIFF");
  head.setUint32(4, 36 + size, true);
  text(8, "WAVEfmt ");
  head.setUint32(16, 16, true);
  head.setUint16(20, 1, true); // PCM
  head.setUint16(22, 1, true); // one channel
  head.setUint32(24, SPEECH_RATE, true);
  head.setUint32(28, 2 * SPEECH_RATE, true);
  head.setUint16(32, 2, true);
  head.setUint16(34, 16, true);
  text(36, "data");
  head.setUint32(40, size, true);
  const data = blocks.map((samples) => Int16Array.from(samples, (sample) => Math.round(32_767 * sample)));
  URL.revokeObjectURL($("wav").href);
  $("wav").href = URL.createObjectURL(new Blob([head, ...data], { type: "audio/wav" }));
  $("wav").hidden = false;
}
