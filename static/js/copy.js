// Buttons that copy the text of the element that they name by data-copy. Without JavaScript they stay
// hidden: the text can be selected.
(() => {
  "use strict";
  if (!navigator.clipboard) return;

  for (const button of document.querySelectorAll("button[data-copy]")) {
    const label = button.textContent;
    const said = document.createElement("span");
    said.className = "sr-only";
    said.setAttribute("role", "status");
    button.after(said);
    button.hidden = false;
    let timer = 0;
    button.addEventListener("click", async () => {
      const text = document.getElementById(button.dataset.copy).textContent.trim();
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Select it";
      }
      said.textContent = button.textContent;
      clearTimeout(timer);
      timer = setTimeout(() => {
        button.textContent = label;
        said.textContent = "";
      }, 2000);
    });
  }
})();
