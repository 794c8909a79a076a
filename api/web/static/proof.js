// Checks a run's proof with nothing but this browser: every event is hashed here, and its inclusion proof (RFC 9162,
// 2.1.3.2) followed to the root of the checkpoint, whose signature is checked where the browser knows Ed25519.
"use strict";

{
  const section = document.getElementById("proof-section");
  const button = document.getElementById("verify");
  const steps = document.getElementById("steps");
  const encoder = new TextEncoder();

  const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  const bytesOf = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const joined = (...parts) => Uint8Array.from(parts.flatMap((part) => Array.from(part)));
  const sha256 = async (bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const same = (a, b) => a.length === b.length && a.every((byte, i) => byte === b[i]);

  class Wrong extends Error {}

  function must(holds, otherwise) {
    if (!holds) throw new Wrong(otherwise);
  }

  function say(kind, text) {
    const line = document.createElement("li");
    line.className = kind;
    const icon = document.createElement("span");
    icon.className = "icon";
    icon.setAttribute("aria-hidden", "true");
    icon.textContent = kind.startsWith("holds") || kind.endsWith("holds") ? "✓" : kind === "unknown" ? "–" : "✕";
    const words = document.createElement("span");
    words.textContent = text;
    line.append(icon, words);
    steps.append(line);
  }

  async function rootBy(proof, index, size, entry) {
    must(index < size, "the checkpoint is of a time before this event");
    let node = BigInt(index), last = BigInt(size) - 1n;
    let found = await sha256(joined([0], entry));
    for (const each of proof) {
      must(last !== 0n && each.length === 32, "the proof is too long");
      if (node & 1n || node === last) {
        found = await sha256(joined([1], each, found));
        while (!(node & 1n) && node) { node >>= 1n; last >>= 1n; }
      } else {
        found = await sha256(joined([1], found, each));
      }
      node >>= 1n;
      last >>= 1n;
    }
    must(last === 0n, "the proof is too short");
    return found;
  }

  function checkpointOf(note) {
    const end = note.lastIndexOf("\n\n");
    must(end > 0, "the checkpoint is not a signed note");
    const [origin, size, root] = note.slice(0, end).split("\n");
    must(/^(0|[1-9][0-9]{0,15})$/.test(size), "the checkpoint has no size");
    const signatures = note.slice(end + 2).split("\n").filter(Boolean).map((line) => {
      const [, name, value] = line.split(" ");
      return { name, value: bytesOf(value) };
    });
    return { text: note.slice(0, end + 1), origin, size: Number(size), root: bytesOf(root), signatures };
  }

  async function keyOf(vkey) {
    const [, name, id, encoded] = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/.exec(vkey) ?? [];
    must(encoded, "the key has not the form of one");
    const material = bytesOf(encoded);
    must(material.length === 33 && material[0] === 1, "the key is not one of Ed25519");
    const expected = await sha256(joined(encoder.encode(`${name}\n`), material));
    must(hex(expected.slice(0, 4)) === id, "the key does not fit its own id");
    return { name, id: expected.slice(0, 4), publicKey: material.slice(1) };
  }

  // True and false are what the browser found; null says that it does not know Ed25519.
  async function isSigned(checkpoint, key) {
    const signature = checkpoint.signatures.find((each) => each.name === key.name && same(each.value.slice(0, 4), key.id));
    must(signature && checkpoint.origin === key.name, "the checkpoint is not signed by the log's key");
    let imported;
    try {
      imported = await crypto.subtle.importKey("raw", key.publicKey, { name: "Ed25519" }, false, ["verify"]);
    } catch {
      return null;
    }
    return crypto.subtle.verify({ name: "Ed25519" }, imported, signature.value.slice(4), encoder.encode(checkpoint.text));
  }

  async function eventOf(row, checkpoint, note) {
    const bytes = bytesOf(row.event_base64);
    const entry = await sha256(bytes);
    must(hex(entry) === row.hash, `event ${row.seq}: its bytes do not have the hash that the log claims`);
    const end = row.proof.indexOf("\n\n");
    const [header, index, ...hashes] = row.proof.slice(0, end).split("\n");
    must(header === "c2sp.org/tlog-proof@v1" && index === `index ${row.seq}`, `event ${row.seq}: the proof is not one of it`);
    must(row.proof.slice(end + 2) === note, `event ${row.seq}: the proof leads to another checkpoint`);
    const root = await rootBy(hashes.map(bytesOf), row.seq, checkpoint.size, entry);
    must(same(root, checkpoint.root), `event ${row.seq}: its proof does not lead to the signed root`);
    return JSON.parse(new TextDecoder().decode(bytes));
  }

  function checkShown(events) {
    const rows = new Map(events.map(({ row }) => [String(row.seq), row.hash]));
    for (const line of document.querySelectorAll("#timeline li")) {
      must(rows.get(line.dataset.seq) === line.dataset.hash, `event ${line.dataset.seq} of this page is not in the proof`);
    }
    const shown = JSON.parse(section.dataset.shown);
    const beginning = events.filter(({ event }) => event.data.run !== undefined).map(({ event }) => event.data.run);
    const run = beginning.find((each) => each.created_at_utc === shown.created_at_utc);
    must(run, "no event of the proof begins the run that this page shows");
    const { risk_level, score, block_reason } = run.decision;
    const told = { ...run, risk_level, score, block_reason };
    for (const [name, value] of Object.entries(shown)) {
      const wanted = name === "hashes" ? Object.entries(value).every(([each, hash]) => told.hashes[each] === hash) : told[name] === value;
      must(wanted, `this page shows another ${name} than the event has`);
    }
  }

  async function verify() {
    const answer = await fetch(`${section.dataset.api}/proof`, { cache: "no-store" });
    must(answer.ok, `the proof could not be had (${answer.status}); try again in a moment`);
    const proof = await answer.json();
    const checkpoint = checkpointOf(proof.checkpoint);
    const key = await keyOf(proof.key);
    const events = [];
    for (const row of proof.events) events.push({ row, event: await eventOf(row, checkpoint, proof.checkpoint) });
    const many = `${events.length} ${events.length === 1 ? "event" : "events"}`;
    say("holds", `${many} hashed here: SHA-256 as the log has it`);
    say("holds", `Each is in the tree of ${checkpoint.size} events with the root ${hex(checkpoint.root).slice(0, 16)}…`);
    checkShown(events);
    say("holds", "Status, risk, score, tool and hashes on this page are those of the event");
    const signed = await isSigned(checkpoint, key);
    must(signed !== false, "the signature of the checkpoint does not fit");
    if (signed) say("holds", `The root is signed by ${key.name}`);
    else say("unknown", "This browser does not know Ed25519, so the signature was not checked; the evidence zip can");
    const others = checkpoint.signatures.filter((each) => each.name !== key.name).map((each) => each.name);
    if (others.length) say("unknown", `It carries signatures of witnesses that are not checked here: ${others.join(", ")}`);
    say("sum holds", "This run is in the log as shown. Compare the key with the one that the log’s operator published:");
    say("unknown", proof.key);
  }

  button.hidden = false;
  button.addEventListener("click", async () => {
    steps.replaceChildren();
    if (!crypto.subtle) {
      say("unknown", "Browsers only compute hashes on pages that came over TLS or from this machine. Use the evidence zip instead.");
      return;
    }
    button.disabled = true;
    try {
      await verify();
    } catch (error) {
      say("sum fails", error instanceof Wrong ? `This does not hold: ${error.message}.` : "The proof could not be read; it does not hold.");
    } finally {
      button.disabled = false;
    }
  });
}
