/** A recording's transcript, beside a player whose words light up. */

import { offer } from "./exports.js";
import { Transcript, clock } from "./transcript.js";
import { transcribe } from "./vivavoce.js";

const $ = (id) => document.getElementById(id);

const PAUSE = 0.8; // seconds after which the next word begins a line

export class Recording {
  #server;
  #words = new Transcript($("file-words"), { picked: ({ start }) => this.#seek(start) });
  #asked = null; // what aborts the request
  #found = null;

  constructor(server) {
    this.#server = server;
    const drop = $("drop");
    $("recording").addEventListener("change", ({ target }) => target.files[0] && this.#take(target.files[0]));
    for (const name of ["dragenter", "dragover"]) addEventListener(name, (event) => this.#over(event, true));
    for (const name of ["dragleave", "drop"]) addEventListener(name, (event) => this.#over(event, false));
    drop.addEventListener("drop", ({ dataTransfer: { files } }) => files[0] && this.#take(files[0]));
    offer($("file-exports"), () => ({ ...this.#words, ...this.#found }));
    const light = () => {
      this.#words.light($("audio").currentTime);
      if (!$("audio").paused) requestAnimationFrame(light);
    };
    for (const name of ["play", "seeked", "pause"]) $("audio").addEventListener(name, light);
  }

  offered(is) {
    $("recording").disabled = !is;
    if (!is) $("file-state").textContent = "Speech to text is off on this server.";
  }

  /** A file that misses its place is not to replace the page. */
  #over(event, is) {
    event.preventDefault();
    $("drop").classList.toggle("over", is);
  }

  async #take(file) {
    this.#asked?.abort();
    const asked = (this.#asked = new AbortController());
    this.#server.fine();
    this.#words.clear();
    $("file-exports").hidden = true;
    URL.revokeObjectURL($("audio").src);
    $("audio").src = URL.createObjectURL(file);
    $("file-name").textContent = file.name;
    $("player").hidden = false;
    $("drop").classList.add("taken");
    $("file-state").textContent = "Listening to it …";
    $("file").ariaBusy = "true";
    try {
      const found = await transcribe(this.#server.url, file, { key: this.#server.key, signal: asked.signal });
      for (const [at, word] of found.words.entries()) {
        if (at && word.start - found.words[at - 1].stop > PAUSE) this.#words.line();
        this.#words.add(word);
      }
      this.#found = { duration: found.duration, name: file.name.replace(/\.[^.]*$/, "") };
      $("file-state").textContent = `${found.words.length} words in ${clock(found.duration)}`;
      $("file-exports").hidden = !found.words.length;
    } catch (error) {
      if (asked.signal.aborted) return; // another file has come
      $("file-state").textContent = "";
      this.#server.failed(error);
    } finally {
      if (this.#asked === asked) $("file").ariaBusy = "false";
    }
  }

  #seek(start) {
    $("audio").currentTime = start;
    $("audio").play().catch(() => {}); // a format that this browser does not play still has its words
  }
}
