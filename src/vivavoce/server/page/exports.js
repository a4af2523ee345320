/** Words as files: plain text, SubRip, WebVTT and JSON, cut into subtitles as the server's own commands do it. */

const LINE = 42; // characters
const LINES = 2;
const LONGEST = 7; // seconds on the screen
const SHORTEST = 1; // seconds
const PAUSE = 0.8; // seconds of silence that end a cue

export const FORMATS = { txt, srt, vtt, json };

export function txt({ words, turns }) {
  return turnsOf(words, turns).map((turn) => `${textOf(turn)}\n`).join("");
}

export function srt({ words, turns }) {
  return cues(words, turns)
    .map(({ start, stop, lines }, at) => [at + 1, `${stamp(start, ",")} --> ${stamp(stop, ",")}`, ...lines].join("\n") + "\n")
    .join("\n");
}

export function vtt({ words, turns }) {
  const blocks = cues(words, turns).map(({ start, stop, lines }) =>
    [`${stamp(start, ".")} --> ${stamp(stop, ".")}`, ...lines.map(escape)].join("\n") + "\n",
  );
  return ["WEBVTT\n", ...blocks].join("\n");
}

export function json({ words, duration }) {
  return `${JSON.stringify({ duration, text: textOf(words), words }, null, 2)}\n`;
}

/** A button for each format in `root`; `what()` gives {words, turns, duration, name} when one is pressed. */
export function offer(root, what) {
  root.hidden = true;
  for (const [format, write] of Object.entries(FORMATS)) {
    const button = document.createElement("button");
    button.textContent = format;
    button.addEventListener("click", () => {
      const found = what();
      save(new Blob([write(found)], { type: "text/plain" }), `${found.name}.${format}`);
    });
    root.append(button);
  }
}

export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function cues(words, turns) {
  const drafts = turnsOf(words, turns).flatMap(phrases);
  const found = drafts.map((group) => ({
    start: group[0].start,
    stop: Math.min(group.at(-1).stop, group[0].start + LONGEST),
    lines: wrap(textOf(group)),
  }));
  return found.map((cue, at) => {
    const stop = Math.max(cue.stop, cue.start + SHORTEST);
    const after = found[at + 1];
    return { ...cue, stop: after ? Math.max(cue.start, Math.min(stop, after.start)) : stop };
  });
}

function turnsOf(words, turns) {
  const before = (time) => turns.filter((turn) => turn <= time).length;
  const groups = [];
  for (const [at, word] of words.entries()) {
    if (at === 0 || before(word.start) > before(words[at - 1].start)) groups.push([]);
    groups.at(-1).push(word);
  }
  return groups;
}

function phrases(turn) {
  const groups = [[turn[0]]];
  for (const word of turn.slice(1)) {
    if (breaks(groups.at(-1), word)) groups.push([]);
    groups.at(-1).push(word);
  }
  return groups;
}

function breaks(group, word) {
  const last = group.at(-1);
  const text = textOf(group);
  return (
    word.start - last.stop > PAUSE ||
    word.stop - group[0].start > LONGEST ||
    wrap(`${text} ${word.text}`).length > LINES ||
    (/[.?!]$/.test(last.text) && text.length > LINE)
  );
}

function wrap(text) {
  const lines = [];
  for (const word of text.split(/\s+/).filter(Boolean)) {
    const longer = `${lines.at(-1)} ${word}`;
    if (lines.length && longer.length <= LINE) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

function textOf(words) {
  return words.map(({ text }) => text).join(" ");
}

function stamp(seconds, point) {
  const all = Math.max(0, Math.round(1000 * seconds));
  const two = (number) => String(Math.floor(number)).padStart(2, "0");
  const rest = String(all % 1000).padStart(3, "0");
  return `${two(all / 3_600_000)}:${two((all / 60_000) % 60)}:${two((all / 1000) % 60)}${point}${rest}`;
}

function escape(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
