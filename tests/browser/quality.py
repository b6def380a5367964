"""What every page has to be, whoever reads it by whatever means."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
FAULTS = """() => {
  const found = [];
  const seen = (element) => element.offsetParent !== null;
  const count = document.querySelectorAll('h1').length;
  if (count !== 1) found.push(count + ' h1');
  if (!document.documentElement.lang) found.push('no language');
  if (!document.title) found.push('no title');
  if (!document.querySelector('main')) found.push('no main');
  for (const field of document.querySelectorAll('input, select, textarea')) {
    if (field.type === 'hidden' || !seen(field)) continue;
    if (!field.labels.length && !field.getAttribute('aria-label')) {
      found.push('no label: ' + field.outerHTML);
    }
    for (const id of (field.getAttribute('aria-describedby') || '').split(' ')) {
      if (id && !document.getElementById(id)) found.push('no description: ' + id);
    }
  }
  for (const control of document.querySelectorAll('a[href], button')) {
    const name = control.getAttribute('aria-label') || control.textContent;
    if (seen(control) && !name.trim()) found.push('no name: ' + control.outerHTML);
  }
  const ids = [...document.querySelectorAll('[id]')].map((element) => element.id);
  for (const id of new Set(ids)) {
    if (ids.filter((each) => each === id).length > 1) found.push('twice: #' + id);
  }
  if (document.documentElement.scrollWidth > window.innerWidth) found.push('too wide');
  return found;
}"""
FINDINGS = """async (rules) => {
  const { violations } = await axe.run(document, { runOnly: { type: 'tag', values: rules } });
  return violations.flatMap(({ id, nodes }) =>
    nodes.map((node) => id + ': ' + node.target.join(' ') + ' ' + node.html.slice(0, 160)));
}"""


def faults(page: Page) -> list[str]:
    """What is wrong with the page as a document, on a wide screen and on a phone."""
    found = []
    for size in (PHONE, WIDE):
        page.set_viewport_size(size)  # type: ignore[arg-type]  # a TypedDict of its own
        found += [f"{size['width']} px: {fault}" for fault in page.evaluate(FAULTS)]
    return found


def barriers(page: Page) -> list[str]:
    """What axe-core finds on the page in both themes. Needs a context that bypasses the policy:
    axe writes styles into the page.
    """
    found = []
    page.evaluate(_axe())
    chosen: Any = page.evaluate("document.documentElement.dataset.theme")
    for theme in ("light", "dark"):
        page.evaluate("(theme) => { document.documentElement.dataset.theme = theme; }", theme)
        found += [f"{theme}: {each}" for each in page.evaluate(FINDINGS, list(RULES))]
    page.evaluate(
        "(theme) => { if (theme) document.documentElement.dataset.theme = theme;"
        " else delete document.documentElement.dataset.theme; }",
        chosen,
    )
    return found


@cache
def _axe() -> str:
    return AXE.read_text()
