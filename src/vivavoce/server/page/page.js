/** What all parts of the page share: its tabs, the key, what the server has, and what goes wrong. */

import { Board } from "./board.js";
import { Recording } from "./recording.js";
import { Saying } from "./saying.js";
import { Talk } from "./talk.js";

const $ = (id) => document.getElementById(id);
const tabs = [...document.querySelectorAll("[role=tab]")];
const KEY = "vivavoce key";

/** The page's end of the server. */
const server = {
  url: new URL(".", document.baseURI).href,
  get key() {
    return sessionStorage.getItem(KEY) ?? undefined;
  },
  /** Show why something has failed; a key that is wanted is asked for. */
  failed(error) {
    say(error.hint ? `${error.message}. ${error.hint}` : error.message);
    if (error.code === "unauthenticated") askForKey();
  },
  fine: () => say(""),
};

function say(text) {
  $("alert").textContent = text;
  $("alert").hidden = !text;
}

function askForKey() {
  $("door").hidden = false;
  $("key").focus();
}

$("door").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, $("key").value);
  $("door").hidden = true;
  say("");
  look();
});

// --- tabs, as the ARIA practices have them ---

const parts = { talk: new Talk(server), file: new Recording(server), speak: new Saying(server), board: new Board(server) };

function show(name, focus = false) {
  for (const tab of tabs) {
    const chosen = tab.id === `tab-${name}`;
    tab.setAttribute("aria-selected", chosen);
    tab.tabIndex = chosen ? 0 : -1;
    $(tab.getAttribute("aria-controls")).hidden = !chosen;
    if (chosen && focus) tab.focus();
  }
  say("");
  history.replaceState(null, "", `#${name}`);
  for (const [other, part] of Object.entries(parts)) part.shown?.(other === name);
}

const nameOf = (tab) => tab.getAttribute("aria-controls");
const MOVES = { ArrowRight: (at) => at + 1, ArrowLeft: (at) => at - 1, Home: () => 0, End: () => -1 };
for (const [at, tab] of tabs.entries()) {
  tab.addEventListener("click", () => show(nameOf(tab)));
  tab.addEventListener("keydown", ({ key }) => {
    if (key in MOVES) show(nameOf(tabs.at(MOVES[key](at) % tabs.length)), true);
  });
}
addEventListener("hashchange", () => show(named()));

function named() {
  const name = location.hash.slice(1);
  return name in parts ? name : "talk";
}

// --- the server ---

async function look() {
  const answer = await fetch(new URL("api/status", server.url)).catch(() => null);
  if (!answer) return void ($("server").textContent = "no answer");
  if (!answer.ok) return void parts.speak.offered("api/tts_streaming"); // a proxy keeps it to itself: what is off is met then
  const status = await answer.json();
  const { capacity, auth, engines } = status;
  const models = engines.map(({ model, state }) => model ?? state);
  $("server").textContent = models.join(" · ");
  $("server").dataset.state = status.state;
  if (auth.required) await knock();
  if (status.state === "loading") return void setTimeout(look, 1000);
  const has = (type) => capacity.modules.some(({ module_type }) => module_type === type);
  const speaks = capacity.modules.find(({ module_type }) => module_type === "py");
  for (const part of [parts.talk, parts.file]) part.offered(has("batched_asr"));
  parts.speak.offered(speaks?.name);
}

/** Whether the key opens the door, or the cookie of an account. */
async function knock() {
  const headers = server.key ? { authorization: `Bearer ${server.key}` } : {};
  const { status } = await fetch(new URL("v1/models", server.url), { headers });
  if (status !== 401) return;
  if (server.key) say("The key is not one of this server's");
  askForKey();
}

show(named());
look();
