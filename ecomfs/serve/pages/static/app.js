// Keys for the review page, focus after a change, a reviewer's name that is remembered, uploads
// and the progress of runs.
"use strict";

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, [contenteditable]");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const button = document.querySelector(`button[data-key="${CSS.escape(event.key)}"]`);
  if (button && !button.disabled) {
    event.preventDefault();
    button.click();
  }
});

document.addEventListener("htmx:afterSwap", (event) => {
  const place = event.detail.target.querySelector("[data-focus]");
  if (place) place.focus();
  if (event.detail.target.id === "desk") htmx.trigger(document.body, "decided");
});

for (const input of document.querySelectorAll("input[data-keep]")) {
  const name = input.dataset.keep;
  try {
    input.value = localStorage.getItem(name) || "";
    input.addEventListener("change", () => localStorage.setItem(name, input.value));
  } catch {
    // A browser that keeps nothing: the name is typed again.
  }
}

const upload = document.getElementById("upload");
if (upload) {
  const note = document.getElementById("upload-note");
  upload.addEventListener("submit", async (event) => {
    event.preventDefault();
    const file = document.getElementById("file").files[0];
    const button = upload.querySelector("button");
    const query = new URLSearchParams({ name: file.name, task: upload.dataset.task });
    note.textContent = upload.dataset.busy;
    button.disabled = true;
    try {
      const headers = { "Content-Type": "application/octet-stream" };
      const answer = await fetch(`/v1/runs?${query}`, { method: "POST", headers, body: file });
      const told = await answer.json();
      if (answer.ok) location.reload();
      else note.textContent = [told.detail, told.hint].filter(Boolean).join(" · ");
    } catch {
      note.textContent = upload.dataset.broken;
    } finally {
      button.disabled = false;
    }
  });
}

for (const row of document.querySelectorAll("tr[data-events]")) {
  const source = new EventSource(row.dataset.events);
  source.addEventListener("run", (event) => {
    const run = JSON.parse(event.data);
    const here = document.getElementById(row.id);
    if (run.state !== here.dataset.state) {
      htmx.ajax("GET", row.dataset.row, { target: here, swap: "outerHTML" });
    } else {
      here.querySelector("meter").value = run.progress || 0;
      const counts = Object.entries(run.counts).filter(([, n]) => n);
      here.querySelector(".counts").textContent = counts.map((c) => c.join(" ")).join(", ");
    }
    if (["done", "failed", "cancelled"].includes(run.state)) source.close();
  });
}
