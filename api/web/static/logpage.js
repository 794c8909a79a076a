// The log page asks for what moves by itself; not while nobody looks, or somebody marks text to copy it.
"use strict";

document.addEventListener("htmx:beforeRequest", (event) => {
  const isPoll = event.detail.elt.id === "moving";
  if (isPoll && (document.hidden || !getSelection().isCollapsed)) event.preventDefault();
});
