/** The server's slots, steps, queues and refusals, from /metrics, once a second while they are looked at. */

const $ = (id) => document.getElementById(id);
const EVERY = 1000; // ms
const KEPT = 90; // seconds in the picture
const DEADLINE = 80; // ms that a step may take
const HIGHEST = 120; // ms at the top of the picture
const MOST_DOTS = 64;
const WIDTH = 600; // of the picture, in its own units, as is its height
const HEIGHT = 150;
const still = matchMedia("(prefers-reduced-motion: reduce)");

export class Board {
  #server;
  #timer = null;
  #modules = new Map();

  constructor(server) {
    this.#server = server;
    document.addEventListener("visibilitychange", () => this.#timer !== null && !document.hidden && this.#look());
  }

  shown(is) {
    clearInterval(this.#timer);
    this.#timer = is ? setInterval(() => document.hidden || this.#look(), EVERY) : null;
    if (is) this.#look();
  }

  async #look() {
    let series;
    try {
      const answer = await fetch(new URL("metrics", this.#server.url));
      if (!answer.ok) throw new Error();
      series = parse(await answer.text());
    } catch {
      $("board-state").textContent = "The server does not show its metrics here.";
      return;
    }
    const named = (name, labels = {}) => sum(series, `vivavoce_${name}`, labels);
    const modules = new Set(series.filter(({ name }) => name === "vivavoce_slots").map(({ labels }) => labels.module));
    for (const module of modules) {
      if (!this.#modules.has(module)) this.#modules.set(module, new Module(module));
      this.#modules.get(module).show((name, labels = {}) => named(name, { ...labels, module }), reasons(series, module));
    }
    const refused = reasons(series, "");
    $("board-state").textContent = refused.length ? `Turned away at the door: ${refused.join(", ")}` : "";
  }
}

/** One module's part of the board. */
class Module {
  #steps = []; // [count, seconds] of each look
  #history = []; // ms of a step in each second, or null
  #root = document.createElement("article");

  constructor(name) {
    this.#root.innerHTML = `
      <header><h2></h2><p class="ready"></p></header>
      <div class="dots" role="img"></div>
      <svg viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" role="img">
        <g class="curve"><path class="area"/><path class="line"/></g>
        <path class="deadline" d="M0 ${y(DEADLINE)}H${WIDTH}"/>
      </svg>
      <p class="deadline-label">80 ms</p>
      <dl>
        <div><dt>Step</dt><dd class="step"></dd></div>
        <div><dt>Load</dt><dd class="load"></dd></div>
        <div><dt>Queue</dt><dd class="queue"></dd></div>
        <div><dt>Words</dt><dd class="words"></dd></div>
        <div><dt>Refused</dt><dd class="refused"></dd></div>
        <div><dt>Restarts</dt><dd class="restarts"></dd></div>
      </dl>`;
    this.#at("h2").textContent = name;
    $("modules").append(this.#root);
  }

  #at(selector) {
    return this.#root.querySelector(selector);
  }

  #say(selector, text) {
    this.#at(selector).textContent = text;
  }

  show(value, refused) {
    const step = this.#step(value("step_seconds_count"), value("step_seconds_sum"));
    this.#slots(value("slots_used"), value("slots"));
    this.#picture(step);
    const ready = value("ready") > 0;
    this.#say(".ready", ready ? "ready" : "not ready");
    this.#at(".ready").dataset.ready = ready;
    this.#say(".step", step === null ? "at rest" : `${step.toFixed(1)} ms`);
    this.#say(".load", `${Math.round(100 * value("real_time_load"))} %`);
    this.#say(".queue", `${value("queue_seconds").toFixed(1)} s`);
    this.#say(".words", value("words_total").toLocaleString());
    this.#say(".refused", refused.join(", ") || "none");
    this.#say(".restarts", value("engine_restarts_total") || "none");
  }

  /** The mean step since the last look, in ms; null where there was none. */
  #step(count, seconds) {
    this.#steps = [...this.#steps.slice(-1), [count, seconds]];
    const [[before, sofar], [now, all]] = [this.#steps[0], this.#steps.at(-1)];
    return now > before ? (1000 * (all - sofar)) / (now - before) : null;
  }

  #slots(used, slots) {
    const dots = this.#at(".dots");
    dots.setAttribute("aria-label", `${used} of ${slots} slots are taken`);
    const shown = Math.min(slots, MOST_DOTS);
    while (dots.children.length < shown) dots.append(document.createElement("i"));
    for (const [at, dot] of [...dots.children].entries()) dot.classList.toggle("taken", at < Math.ceil((used * shown) / slots));
    dots.dataset.count = `${used} / ${slots}`;
  }

  #picture(step) {
    this.#history = [...this.#history.slice(1 - KEPT), step];
    const dx = WIDTH / (KEPT - 1);
    const from = WIDTH - (this.#history.length - 1) * dx;
    let [line, area, open] = ["", "", null];
    for (const [at, ms] of [...this.#history, null].entries()) {
      const x = (from + at * dx).toFixed(1);
      if (ms !== null) {
        line += `${open === null ? "M" : "L"}${x} ${y(ms)}`;
        area += open === null ? `M${x} ${HEIGHT}L${x} ${y(ms)}` : `L${x} ${y(ms)}`;
        open = x;
      } else if (open !== null) {
        line += `h.01`; // a single second is a dot
        area += `V${HEIGHT}Z`;
        open = null;
      }
    }
    this.#at(".line").setAttribute("d", line);
    this.#at(".area").setAttribute("d", area);
    this.#at("svg").setAttribute("aria-label", `Step time: ${step === null ? "at rest" : `${step.toFixed(1)} ms of ${DEADLINE}`}`);
    if (!still.matches) {
      this.#at(".curve").animate([{ transform: `translateX(${dx}px)` }, { transform: "none" }], { duration: EVERY });
    }
  }
}

const y = (ms) => (HEIGHT * (1 - Math.min(ms, HIGHEST) / HIGHEST)).toFixed(1);

/** The lines of Prometheus's text format: {name, labels, value}. */
function parse(text) {
  return text.split("\n").flatMap((line) => {
    const found = /^(\w+)(?:\{(.*)\})? (\S+)/.exec(line);
    if (!found) return [];
    const labels = Object.fromEntries([...(found[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, name, value]) => [name, value]));
    return [{ name: found[1], labels, value: Number(found[3]) }];
  });
}

function matching(series, wanted, labels) {
  const fits = (found) => Object.entries(labels).every(([name, value]) => found[name] === value);
  return series.filter(({ name, labels: found }) => name === wanted && fits(found));
}

function sum(series, name, labels) {
  return matching(series, name, labels).reduce((all, { value }) => all + value, 0);
}

/** "3 capacity" for each reason of a refusal. */
function reasons(series, module) {
  return matching(series, "vivavoce_refusals_total", { module })
    .filter(({ value }) => value)
    .map(({ labels, value }) => `${value} ${labels.reason.replaceAll("_", " ")}`);
}
