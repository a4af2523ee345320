/** Words on the page: pending or final, each with its times and confidence for whoever points at it or walks there. */

const UNSURE = 0.6; // confidence below which a word is underlined
const card = document.getElementById("card");

export const clock = (seconds) => {
  const whole = Math.max(0, Math.floor(seconds));
  const minutes = Math.floor(whole / 60);
  const rest = String(whole % 60).padStart(2, "0");
  return minutes < 60 ? `${minutes}:${rest}` : `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`;
};

/** A text whose words are known with their times; `picked(word)` when one is clicked or Enter is pressed on it. */
export class Transcript {
  words = []; // {text, start, stop, confidence}
  turns = []; // seconds at which a turn has ended
  #elements = [];
  #pending = null;
  #line = null;
  #lit = -1;

  constructor(root, { picked = null, live = false } = {}) {
    this.root = root;
    this.picked = picked;
    root.setAttribute("role", live ? "log" : "group");
    root.addEventListener("pointerover", ({ target }) => this.#describe(target));
    root.addEventListener("pointerleave", () => (card.hidden = true));
    root.addEventListener("focusin", ({ target }) => this.#describe(target));
    root.addEventListener("focusout", () => (card.hidden = true));
    root.addEventListener("keydown", (event) => this.#walk(event));
    root.addEventListener("click", ({ target }) => this.#pick(target));
  }

  /** A word whose text is final and whose end is not known yet. */
  begin({ text, start }) {
    this.#settle();
    this.#pending = document.createElement("span");
    this.#pending.className = "word pending";
    this.#pending.ariaHidden = "true"; // who listens hears it once, when it is final
    this.#pending.textContent = text;
    this.#paragraph(start).append(this.#pending, " ");
    this.#follow();
  }

  /** A word and its end. */
  add(word) {
    this.#settle();
    const element = document.createElement(this.picked ? "button" : "span");
    element.className = "word";
    element.textContent = word.text;
    if (word.confidence < UNSURE || word.suspect) element.classList.add("unsure");
    element.tabIndex = this.words.length ? -1 : 0;
    this.words.push(word);
    this.#elements.push(element);
    this.#paragraph(word.start).append(element, " ");
    this.#follow();
  }

  /** A turn has ended. */
  turn(time) {
    this.turns.push(time);
  }

  /** The next word begins a line. */
  line() {
    this.#line = null;
  }

  /** The word that is heard at this moment, if one is, lights up. */
  light(time) {
    const at = this.words.findLastIndex(({ start }) => start <= time);
    const lit = at >= 0 && time < this.words[at].stop ? at : -1;
    if (lit === this.#lit) return;
    this.#elements[this.#lit]?.classList.remove("lit");
    this.#elements[lit]?.classList.add("lit");
    this.#elements[this.#lit]?.removeAttribute("aria-current");
    this.#elements[lit]?.setAttribute("aria-current", "true");
    this.#elements[lit]?.scrollIntoView({ block: "nearest" });
    this.#lit = lit;
  }

  clear() {
    this.root.replaceChildren();
    [this.words, this.turns, this.#elements, this.#pending, this.#line, this.#lit] = [[], [], [], null, null, -1];
    card.hidden = true;
  }

  get text() {
    return this.words.map(({ text }) => text).join(" ");
  }

  #settle() {
    this.#pending?.nextSibling?.remove();
    this.#pending?.remove();
    this.#pending = null;
  }

  /** Where a word belongs: the line goes on, unless a turn has ended since the word before. */
  #paragraph(start) {
    const last = this.words.at(-1);
    const over = this.turns.some((turn) => last?.start < turn && turn <= start);
    if (!this.#line || (over && this.#line.childElementCount)) {
      this.#line = document.createElement("p");
      this.#line.dataset.time = clock(start);
      this.root.append(this.#line);
    }
    return this.#line;
  }

  #follow() {
    this.root.scrollTop = this.root.scrollHeight;
  }

  #describe(element) {
    const word = this.words[this.#elements.indexOf(element)];
    card.hidden = !word;
    if (!word) return;
    const sure = word.confidence === undefined ? "" : ` · ${Math.round(100 * word.confidence)} % sure`;
    const suspect = word.suspect ? ` · suspect: ${word.suspect}` : "";
    card.textContent = `${word.start.toFixed(2)} – ${word.stop.toFixed(2)} s${sure}${suspect}`;
    element.setAttribute("aria-describedby", "card");
    const place = element.getBoundingClientRect();
    const left = Math.min(innerWidth - card.offsetWidth - 8, Math.max(8, place.left + (place.width - card.offsetWidth) / 2));
    card.style.left = `${left + scrollX}px`;
    card.style.top = `${place.top + scrollY - card.offsetHeight - 6}px`;
  }

  #walk(event) {
    const at = this.#elements.indexOf(event.target);
    const moves = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: this.#elements.length - 1 };
    const to = this.#elements[moves[event.key]];
    if (at < 0 || !to) return;
    event.preventDefault();
    event.target.tabIndex = -1;
    to.tabIndex = 0;
    to.focus();
  }

  #pick(element) {
    const word = this.words[this.#elements.indexOf(element)];
    if (word) this.picked?.(word);
  }
}
