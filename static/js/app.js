// What pages do beyond HTML: copying, and the theme without a reload. Every feature works without it.
(() => {
  "use strict";

  // Buttons that copy the text of the element that they name by data-copy. Without JavaScript they stay
  // hidden: the text can be selected.
  function offerCopies(root) {
    if (!navigator.clipboard) return;
    for (const button of root.querySelectorAll("button[data-copy][hidden]")) {
      const said = document.createElement("span");
      said.className = "sr-only";
      said.setAttribute("role", "status");
      button.after(said);
      button.hidden = false;
    }
  }

  async function copy(button) {
    const said = button.nextElementSibling;
    const label = button.dataset.label || button.textContent;
    button.dataset.label = label;
    try {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent.trim());
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select it";
    }
    said.textContent = button.textContent;
    setTimeout(() => {
      button.textContent = label;
      said.textContent = "";
    }, 2000);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-copy]");
    if (button) copy(button);
  });

  document.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (!button || !("themeToggle" in button.dataset)) return;
    event.preventDefault();
    const root = document.documentElement;
    const dark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    const form = new FormData(event.target);
    form.set("theme", root.dataset.theme);
    fetch(event.target.action, { method: "POST", body: form, redirect: "manual" });
  });

  offerCopies(document);
  document.addEventListener("htmx:afterSwap", (event) => offerCopies(event.target));
})();
