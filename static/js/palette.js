// Ctrl-K: the search in a dialog. Without JavaScript the button is a link to the same search.
(() => {
  "use strict";
  const dialog = document.querySelector("[data-palette]");
  if (!dialog) return;
  const form = dialog.querySelector("form");
  const text = dialog.querySelector("input");
  const hits = dialog.querySelector(".palette-hits");
  let asked = 0;
  let timer = 0;
  let answered = null; // the text that the list belongs to

  async function show() {
    const turn = ++asked;
    const wanted = text.value;
    const query = new URLSearchParams({ q: wanted, part: "1" });
    try {
      const answer = await fetch(`${form.action}?${query}`, { headers: { Accept: "text/html" } });
      if (!answer.ok || answer.redirected) throw new Error();
      const html = await answer.text();
      if (turn !== asked) return;
      hits.innerHTML = html;
      answered = wanted;
    } catch {
      if (turn === asked) hits.textContent = "The search did not answer. Press Enter to open it as a page.";
    }
  }

  function open(event) {
    event.preventDefault();
    if (dialog.open) return;
    dialog.showModal();
    text.select();
    show();
  }

  // The arrows go from the field through the list and back.
  function step(event) {
    const stops = [text, ...hits.querySelectorAll("a")];
    const at = stops.indexOf(document.activeElement);
    const by = event.key === "ArrowDown" ? 1 : -1;
    event.preventDefault();
    stops[(at + by + stops.length) % stops.length].focus();
  }

  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") open(event);
    else if (dialog.open && (event.key === "ArrowDown" || event.key === "ArrowUp")) step(event);
  });
  document.querySelector("[data-palette-open]").addEventListener("click", open);
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  text.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(show, 120);
  });
  // Enter opens the first hit; before the list has come, the search as a page.
  form.addEventListener("submit", (event) => {
    const first = hits.querySelector("a");
    if (!first || !text.value || answered !== text.value) return;
    event.preventDefault();
    first.click();
  });
})();
