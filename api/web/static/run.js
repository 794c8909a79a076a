// The whole program in its place instead of on a page of its own, where it is not too long for that.
"use strict";

document.addEventListener("click", async (event) => {
  const link = event.target.closest("a[data-whole]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const shown = document.getElementById(link.dataset.whole);
  link.setAttribute("aria-disabled", "true");
  const answer = await fetch(link.href);
  if (!answer.ok) {
    location.assign(link.href); // which says what is wrong
    return;
  }
  shown.textContent = await answer.text(); // as text: whatever stands in it, it is never markup
  shown.focus();
  link.remove();
});
