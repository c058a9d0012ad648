// Refreshes the parts of a page that change, and reads a chosen file into its text field.
"use strict";
const EVERY_MS = 5000;
for (const part of document.querySelectorAll("[data-live]")) {
  let shown = "";
  const timer = setInterval(async () => {
    if (document.hidden || part.contains(document.activeElement)) return;
    try {
      const answer = await fetch(part.dataset.live);
      if (answer.status === 403) {
        clearInterval(timer);
        location.reload();
      } else if (answer.ok) {
        const html = (await answer.json()).html;
        if (html !== shown) part.innerHTML = shown = html;
        part.classList.remove("stale");
      } else part.classList.add("stale");
    } catch {
      part.classList.add("stale");
    }
  }, EVERY_MS);
}
for (const chosen of document.querySelectorAll("[data-into]")) {
  chosen.addEventListener("change", async () => {
    const file = chosen.files[0];
    if (file) document.getElementById(chosen.dataset.into).value = await file.text();
  });
}
