"use strict";
// Refreshes the parts of the page that have changed, and leaves alone what somebody is reading or writing in.
(() => {
  const EVERY_MS = 5000;
  // Longer than the server ever takes. Without it one answer that never comes would be the last that was asked for.
  const PATIENCE_MS = 30000;
  const pause = document.getElementById("pause");
  const refreshed = document.getElementById("refreshed");
  const announce = document.getElementById("announce");

  function busy(part) {
    const active = document.activeElement;
    if (part.contains(active) && active !== document.body) return true;
    if (part.querySelector("details[open] form")) return true;
    const written = [...part.querySelectorAll("textarea")].some((field) => field.value !== field.defaultValue);
    const chosen = document.getSelection();
    return written || (chosen && !chosen.isCollapsed && part.contains(chosen.anchorNode));
  }

  function said(part) {
    const place = part && part.querySelector(".say");
    return place ? place.textContent.trim() : "";
  }

  function replace(part, fresh) {
    if (part.innerHTML === fresh.innerHTML || busy(part)) return;
    const open = [...part.querySelectorAll("details[open][id]")].map((each) => each.id);
    if (part.hasAttribute("data-announce") && said(fresh) && said(fresh) !== said(part)) {
      announce.textContent = said(fresh);
    }
    part.replaceChildren(...fresh.childNodes);
    for (const id of open) {
      const found = document.getElementById(id);
      if (found) found.open = true;
    }
  }

  async function ask() {
    const patience = new AbortController();
    const over = setTimeout(() => patience.abort(), PATIENCE_MS);
    try {
      const how = { credentials: "same-origin", cache: "no-store", signal: patience.signal };
      const answer = await fetch(location.href, how);
      if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
      return await answer.text();
    } finally {
      clearTimeout(over);
    }
  }

  async function refresh() {
    const page = new DOMParser().parseFromString(await ask(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const fresh = page.getElementById(part.id);
      if (fresh) replace(part, fresh);
    }
    const now = page.getElementById("refreshed");
    if (now) refreshed.textContent = now.textContent;
    document.body.classList.remove("stale");
  }

  async function turn() {
    if (!document.hidden && pause.getAttribute("aria-pressed") !== "true") {
      try {
        await refresh();
      } catch {
        if (!document.body.classList.contains("stale")) announce.textContent = "Airflow does not answer.";
        document.body.classList.add("stale");
        refreshed.textContent = "Airflow does not answer; this is how it was before.";
      }
    }
    setTimeout(turn, EVERY_MS);
  }

  // In Airflow's tab this page stands in a frame that may not lead the window elsewhere; Airflow's own page may.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-airflow]");
    if (!link || window.parent === window || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const outside = window.parent.document.createElement("a");
    outside.href = link.href;
    outside.click();
  });

  // Once is enough: a second press would be answered with the same decision, but a person should not wonder.
  document.addEventListener("submit", (event) => {
    for (const button of event.target.querySelectorAll("button")) {
      setTimeout(() => { button.disabled = true; }, 0);
    }
  });

  const told = document.getElementById("told");
  if (told) {
    told.focus();
    history.replaceState(null, "", location.pathname);
  }
  if (pause) {
    pause.hidden = false;
    pause.addEventListener("click", () => {
      const paused = pause.getAttribute("aria-pressed") !== "true";
      pause.setAttribute("aria-pressed", String(paused));
      pause.textContent = paused ? "Go on refreshing" : "Pause refreshing";
    });
    setTimeout(turn, EVERY_MS);
  }
})();
