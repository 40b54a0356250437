// The colours of Airflow: its choice lies in localStorage; "system" or none leaves it to the browser.
function colours() {
  const theme = localStorage.getItem("theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}
colours();
addEventListener("storage", colours);

// Airflow shows the page in a frame that may open no windows: there its own document opens the link.
addEventListener("click", (event) => {
  const link = event.target.closest("a[data-out]");
  if (!link || window.parent === window) return;
  event.preventDefault();
  const outside = window.parent.document.createElement("a");
  Object.assign(outside, { href: link.href, target: "_blank", rel: "noopener" });
  outside.click();
});

addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "copied";
  } catch {
    button.textContent = "select it by hand"; // no clipboard without https or localhost
  }
});
