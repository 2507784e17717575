// Keys for the review page, focus after a change, and a reviewer's name that is remembered.
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
