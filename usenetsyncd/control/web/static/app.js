// Keeps a page up to date: the daemon says over a WebSocket that something moved, and the parts of the page marked
// data-live are asked for again, made by the daemon as they were the first time. Every page works without it.
"use strict";

const LEAST_MS = 1500; // between two renewals
const STALE_MS = 30000; // "12m ago" must not stand for longer than this
const LONGEST_WAIT_MS = 30000; // between two tries to connect
let waitMs = 1000;
let last = 0;
let pending = null;
let asking = false;

const sign = document.getElementById("live");

function tell(text, kind) {
  sign.hidden = false;
  sign.className = "live " + kind;
  if (sign.textContent !== text) sign.textContent = text;
}

function busy(part) {
  // Nothing is pulled away from under somebody: a control in use, an open question, a ticked box.
  const active = document.activeElement;
  if (active && active !== document.body && part.contains(active) && active.matches("input, select, textarea, button, summary")) return true;
  return part.querySelector("input:checked, details[open]") !== null;
}

function refocus(part, link) {
  if (!link) return;
  for (const other of part.querySelectorAll("a")) if (other.getAttribute("href") === link) return other.focus({ preventScroll: true });
}

async function renew() {
  pending = null;
  if (asking || document.hidden || !document.querySelector("[data-live]")) return;
  asking = true;
  try {
    const answer = await fetch(location.href, { headers: { "X-Renew": "1" }, credentials: "same-origin" });
    if (answer.redirected) return location.reload(); // the session has ended
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const other = fresh.getElementById(part.id);
      if (!other || busy(part) || part.outerHTML === other.outerHTML) continue;
      const held = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
      part.replaceWith(document.adoptNode(other));
      refocus(other, held);
    }
    document.title = fresh.title;
  } catch {
    // the daemon is stopping; the WebSocket tells
  } finally {
    asking = false;
    last = Date.now();
  }
}

function soon() {
  if (pending === null) pending = setTimeout(renew, Math.max(0, last + LEAST_MS - Date.now()));
}

function connect() {
  const socket = new WebSocket((location.protocol === "https:" ? "wss://" : "ws://") + location.host + "/api/v1/progress");
  socket.onopen = () => {
    waitMs = 1000;
    tell("live", "on");
  };
  socket.onmessage = soon;
  socket.onclose = () => {
    tell("not connected", "off");
    soon(); // leads to the login where the session has ended
    setTimeout(connect, waitMs);
    waitMs = Math.min(waitMs * 2, LONGEST_WAIT_MS);
  };
}

function count(form, sum) {
  const ticked = form.querySelectorAll("input[name=article]:checked").length;
  sum.textContent = ticked ? ticked + " ticked" : "";
}

document.addEventListener("change", (event) => {
  const box = event.target;
  if (box.matches("input[data-all]"))
    for (const other of document.querySelectorAll("input[name=" + box.dataset.all + "]")) other.checked = box.checked;
  const sum = document.getElementById("ticked");
  if (sum && box.form) count(box.form, sum);
});

document.addEventListener("visibilitychange", () => document.hidden || soon());
setInterval(soon, STALE_MS);
if (sign) connect();
