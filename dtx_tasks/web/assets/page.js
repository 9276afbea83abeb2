// Airflow shows these pages in a sandboxed frame: links out of it must be followed by Airflow's own page.
"use strict";

const outer = window.parent.document;
const isFramed = window.parent !== window;

function followTheme() {
  const theme = ["light", "dark"].find((name) => outer.documentElement.classList.contains(name));
  if (theme) document.documentElement.dataset.theme = theme;
  document.documentElement.style.setProperty("--ground", getComputedStyle(outer.body).backgroundColor);
}

function openOutside(event) {
  const link = event.target.closest("a[data-outside]");
  if (!link || !isFramed) return;
  event.preventDefault();
  const outside = outer.createElement("a");
  Object.assign(outside, { href: link.href, target: "_blank", rel: "noopener noreferrer" });
  outer.body.append(outside);
  outside.click();
  outside.remove();
}

function refreshAfter(seconds) {
  setTimeout(() => (document.hidden ? refreshAfter(seconds) : location.reload()), seconds * 1000);
}

if (isFramed) {
  followTheme();
  new MutationObserver(followTheme).observe(outer.documentElement, { attributeFilter: ["class"] });
}
document.addEventListener("click", openOutside);
const seconds = Number(document.documentElement.dataset.refresh);
if (seconds) refreshAfter(seconds);
