/** The last twenty seconds as a picture: level, where words are, how sure the model is of a pause, where turns end. */

const SHOWN = 20; // seconds
const SLICE = 0.08; // seconds of a bar

export class Strip {
  #canvas;
  #slices = []; // {level, voice, pause}, each 80 ms
  #turns = [];
  #due = false;

  constructor(canvas) {
    this.#canvas = canvas;
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  seconds = 0;

  clear() {
    [this.#slices, this.#turns, this.seconds] = [[], [], 0];
    this.draw();
  }

  hear(seconds, level) {
    const slice = this.#slice(this.seconds);
    slice.level = Math.max(slice.level, level);
    this.seconds += seconds;
    this.draw();
  }

  word({ start, stop }) {
    for (let at = start; at < stop; at += SLICE) this.#slice(at).voice = true;
  }

  pause(time, pause) {
    this.#slice(time).pause = pause;
  }

  turn(time) {
    this.#turns.push(time);
  }

  #slice(time) {
    const at = Math.max(0, Math.floor(time / SLICE + 1e-6));
    while (this.#slices.length <= at) this.#slices.push({ level: 0, voice: false, pause: 0 });
    return this.#slices[at];
  }

  draw() {
    if (this.#due) return;
    this.#due = true;
    requestAnimationFrame(() => {
      this.#due = false;
      this.#paint();
    });
  }

  #paint() {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    if (!width) return;
    const sharp = devicePixelRatio;
    [this.#canvas.width, this.#canvas.height] = [width * sharp, height * sharp];
    const paint = this.#canvas.getContext("2d");
    paint.scale(sharp, sharp);
    const style = getComputedStyle(this.#canvas);
    const colour = (name) => style.getPropertyValue(name);
    const from = Math.max(0, this.seconds - SHOWN);
    const x = (time) => ((time - from) / SHOWN) * width;
    const bar = (SLICE / SHOWN) * width;
    const middle = height / 2 - 3;
    paint.fillStyle = colour("--line");
    paint.fillRect(0, middle - 0.5, width, 1);
    for (let at = Math.floor(from / SLICE); at < this.#slices.length; at++) {
      const { level, voice, pause } = this.#slices[at];
      const tall = Math.max(1, level * (middle - 2));
      paint.fillStyle = colour(voice ? "--accent" : "--faint");
      paint.fillRect(x(at * SLICE), middle - tall, Math.max(1, bar - 1), 2 * tall);
      paint.globalAlpha = pause;
      paint.fillStyle = colour("--calm");
      paint.fillRect(x(at * SLICE), height - 4, bar + 0.5, 4);
      paint.globalAlpha = 1;
    }
    paint.fillStyle = colour("--calm");
    for (const turn of this.#turns.filter((time) => time >= from)) paint.fillRect(x(turn) - 1, 0, 2, height);
  }
}
