// New runs announce themselves; they are shown when the reader asks for them, never pushed under the cursor.
"use strict";

{
  const ANNOUNCED_MAX = 999;
  const news = document.getElementById("news");
  const filters = JSON.parse(news.dataset.filters);
  const title = document.title;
  let after = news.dataset.after, count = 0, source = null;

  const told = (run, name) => ({ ...run.context, ...run, risk_level: run.decision.risk_level })[name];

  function matches(run) {
    const day = run.created_at_utc.slice(0, 10);
    return Object.entries(filters).every(([name, wanted]) => {
      switch (name) {
        case "tool_id_prefix": return run.tool_id.startsWith(wanted);
        case "date_from": return day >= wanted;
        case "date_to": return day <= wanted;
        case "include_withdrawn": return true;
        case "advisory_id": return false; // a new run has none yet
        default: return told(run, name) === wanted;
      }
    });
  }

  function announce() {
    const many = count > ANNOUNCED_MAX ? `${ANNOUNCED_MAX}+` : String(count);
    const link = news.querySelector("a") ?? news.appendChild(document.createElement("a"));
    link.href = news.dataset.newest;
    link.textContent = `Show ${many} new ${count === 1 ? "run" : "runs"}`;
    document.title = `(${many}) ${title}`;
  }

  function listen() {
    source = new EventSource(`/api/rmos/events?after=${after}&type=rmos.run.created.v1`);
    source.onmessage = (message) => {
      after = message.lastEventId;
      if (!matches(JSON.parse(message.data).event.data.run)) return;
      count += 1;
      announce();
      if (count > ANNOUNCED_MAX) source.close();
    };
  }

  // A page that nobody looks at holds no connection: a browser has few for one server, and can bring the page back as it was.
  function attend() {
    source?.close();
    if (after !== undefined && count <= ANNOUNCED_MAX && document.visibilityState === "visible") listen();
  }
  document.addEventListener("visibilitychange", attend);
  addEventListener("pagehide", () => source?.close());
  addEventListener("pageshow", attend);

  // The button that was pressed is gone with its row, so the keyboard goes on at the first run that came.
  const table = document.querySelector("table.runs");
  let rows = 0;
  document.body.addEventListener("htmx:beforeSwap", () => { rows = table.rows.length; });
  document.body.addEventListener("htmx:afterSwap", () => table.rows[rows - 1]?.querySelector("a, button")?.focus({ preventScroll: true }));

  for (const failed of ["htmx:responseError", "htmx:sendError"]) {
    document.body.addEventListener(failed, () => {
      document.querySelector("#more .failed").textContent = "That did not work. Try again in a moment.";
    });
  }
}
