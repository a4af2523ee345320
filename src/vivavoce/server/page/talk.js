/** Talk and see the words appear. */

import { offer } from "./exports.js";
import { Microphone } from "./microphone.js";
import { Strip } from "./strip.js";
import { Transcript, clock } from "./transcript.js";
import { listen } from "./vivavoce.js";

const $ = (id) => document.getElementById(id);
const QUIETEST = -60; // dBFS
const HEADS = ["½ s", "1 s", "2 s", "3 s"]; // what the pauses of a model's heads stand for

export class Talk {
  #server;
  #words = new Transcript($("talk-words"), { live: true });
  #strip = new Strip($("strip"));
  #stream = null;
  #microphone = null;

  constructor(server) {
    this.#server = server;
    $("mic").addEventListener("click", () => (this.#stream ? this.#stop() : this.#start()));
    offer($("talk-exports"), () => ({ ...this.#words, duration: this.#strip.seconds, name: "talk" }));
  }

  offered(is) {
    $("mic").disabled = !is;
    if (!is) $("talk-blank").textContent = "Speech to text is off on this server.";
  }

  shown(is) {
    if (is) this.#strip.draw();
  }

  async #start() {
    this.#server.fine();
    this.#words.clear();
    this.#strip.clear();
    $("talk-blank").hidden = true;
    $("talk-exports").hidden = true;
    $("mic").disabled = true;
    this.#state("opening");
    const early = []; // heard before the stream is there
    try {
      this.#microphone = new Microphone();
      await this.#microphone.open((samples) => {
        this.#show(samples);
        if (this.#stream) this.#stream.send(samples).catch(() => {});
        else early.push(samples);
      }, () => this.#stop());
      this.#stream = listen(this.#server.url, {
        key: this.#server.key, vad: true, live: true, sampleRate: this.#microphone.sampleRate,
      });
      for (const samples of early) this.#stream.send(samples).catch(() => {});
      $("mic").disabled = false;
      $("mic").dataset.live = "true";
      $("mic").setAttribute("aria-label", "Stop");
      for await (const event of this.#stream) this.#hear(event);
      this.#state("");
    } catch (error) {
      this.#state("");
      this.#server.failed(error.name === "NotAllowedError" ? new Error("The microphone was not allowed") : error);
    } finally {
      this.#end();
    }
  }

  /** The last words still come. */
  #stop() {
    this.#microphone?.close();
    this.#stream?.end();
    this.#state("finishing");
  }

  #end() {
    this.#microphone?.close();
    this.#stream?.close();
    [this.#stream, this.#microphone] = [null, null];
    $("mic").disabled = false;
    delete $("mic").dataset.live;
    $("mic").setAttribute("aria-label", "Talk");
    this.#level(0);
    $("talk-exports").hidden = !this.#words.words.length;
    $("talk-blank").hidden = this.#words.words.length > 0;
  }

  #state(text) {
    $("talk-state").textContent = text;
  }

  #show(samples) {
    const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
    this.#level(power);
    this.#strip.hear(samples.length / this.#microphone.sampleRate, loudness(power));
    $("talk-time").textContent = clock(this.#strip.seconds);
  }

  #level(power) {
    $("level").style.setProperty("--at", loudness(power));
    $("level").ariaValueNow = Math.round(QUIETEST * (1 - loudness(power)));
  }

  #hear(event) {
    switch (event.type) {
      case "connected":
        return this.#state("listening");
      case "disconnected":
        return this.#state("connection lost, trying again");
      case "word_start":
        return this.#words.begin(event);
      case "word":
        this.#strip.word(event);
        return this.#words.add(event);
      case "vad":
        this.#strip.pause(event.time, Math.max(...event.pauses));
        return this.#pauses(event.pauses);
      case "vad_end":
        this.#strip.turn(event.time);
        return this.#words.turn(event.time);
      case "gap":
        return this.#server.failed(new Error(`Words may be missing between ${clock(event.start)} and ${clock(event.stop)}`));
      case "dropped":
        return this.#server.failed(new Error(`${Math.ceil(event.seconds)} s of sound were lost: the server is too far behind`));
      case "error":
        return this.#server.failed(event);
    }
    return undefined;
  }

  #pauses(pauses) {
    const heads = $("pauses").querySelector(".heads");
    while (heads.children.length < pauses.length) {
      const name = HEADS[heads.children.length] ?? `${heads.children.length}`;
      const head = document.createElement("div");
      head.className = "head";
      head.title = `Probability that no word begins for ${name}`;
      head.append(document.createElement("i"), Object.assign(document.createElement("span"), { textContent: name }));
      heads.append(head);
    }
    $("pauses").hidden = !pauses.length;
    for (const [at, pause] of pauses.entries()) heads.children[at].style.setProperty("--at", pause);
  }
}

/** 0 at -60 dBFS and below, 1 at full scale. */
function loudness(power) {
  return power > 0 ? Math.max(0, Math.min(1, 1 - (10 * Math.log10(power)) / QUIETEST)) : 0;
}
