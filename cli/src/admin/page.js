"use strict";
// The status page: asks for /status once a second, and hears /events. All that comes from outside
// is set as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";
// Each stage has a shape of its own, so that colour is not needed to tell them apart.
const SHAPES = {
  connected: "M-7 0a7 7 0 1 0 14 0a7 7 0 1 0 -14 0",
  dialling: "M0 -8L8 7H-8Z",
  handshaking: "M0 -8L8 7H-8Z",
  exchanging: "M0 -8L8 7H-8Z",
  waiting: "M-6 -6H6V6H-6Z",
  refused: "M-7 -4L-4 -7L0 -3L4 -7L7 -4L3 0L7 4L4 7L0 3L-4 7L-7 4L-3 0Z",
  idle: "M-6 0a6 6 0 1 0 12 0a6 6 0 1 0 -12 0M-3 0a3 3 0 1 1 6 0a3 3 0 1 1 -6 0",
  stopped: "M-8 -2H8V2H-8Z",
};
const LEGEND = { connected: "connected", dialling: "on the way", waiting: "waits to be tried again", refused: "turned away", idle: "idle" };

let status = null;
let selected = null;
let lastHeard = null;
const open = new Set();

const byId = (id) => document.getElementById(id);

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function drawn(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function mark(stage) {
  const svg = drawn("svg", { viewBox: "-9 -9 18 18", class: "mark", "aria-hidden": "true", "data-stage": stage });
  svg.append(drawn("path", { class: "shape", d: SHAPES[stage] || SHAPES.idle, "fill-rule": "evenodd" }));
  return svg;
}

function bytes(count) {
  let unit = "B";
  for (const next of ["KiB", "MiB", "GiB", "TiB"]) {
    if (count >= 1024) { count /= 1024; unit = next; }
  }
  return (unit === "B" ? count : count.toFixed(1)) + " " + unit;
}

function age(ms) {
  const seconds = ms / 1000;
  if (seconds < 1) return Math.round(ms) + " ms";
  if (seconds < 10) return seconds.toFixed(1) + " s";
  if (seconds < 120) return Math.floor(seconds) + " s";
  if (seconds < 7200) return Math.floor(seconds / 60) + " min";
  if (seconds < 172800) return Math.floor(seconds / 3600) + " h";
  return Math.floor(seconds / 86400) + " days";
}

const short = (id) => id.slice(0, 4) + ".." + id.slice(-8);
const keyOf = (peer) => peer.id || (peer.addresses[0] || {}).address || "?";
const nameOf = (peer) => peer.name || (peer.id ? short(peer.id) : keyOf(peer));
const sum = (list, of) => list.reduce((all, one) => all + of(one), 0);

function current() {
  return status.nodes.find((node) => node.name === selected) || status.nodes[0];
}

// The tabs come and go, their list stays.
byId("nodes").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const tabs = [...byId("nodes").children];
  const next = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
  next.focus();
  next.click();
});

function showTabs() {
  const list = byId("nodes");
  list.hidden = status.nodes.length < 2;
  if (list.hidden) return;
  if (list.children.length !== status.nodes.length) {
    list.replaceChildren(...status.nodes.map((node) => {
      const tab = element("button", { role: "tab", type: "button" }, node.name);
      tab.addEventListener("click", () => { selected = node.name; show(); });
      return tab;
    }));
  }
  [...list.children].forEach((tab, index) => {
    const chosen = status.nodes[index] === current();
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
  });
}

function showAbout(node) {
  const peers = node.peers.filter((peer) => peer.stage === "connected").length;
  const facts = [
    ["id", node.id],
    ["state", !node.running ? "does not run" : node.stopping ? "stopping" : "up " + age(node.uptime_ms)],
    ["listens on", node.listening.join(" ") || "nowhere"],
    ["supports", node.protocols.join(" ") || "no protocol"],
    ["peers", `${peers} connected, ${node.peers.length} known`],
    ["links", node.links.length ? `${node.links.length} not connected yet` : "all connected"],
    ["memory", `${bytes(node.memory.used)} of ${bytes(node.memory.max)}`],
    ["limits", node.usage.filter((one) => one.used > 0).map((one) => `${one.key} ${one.used}/${one.max}`).join(", ") || "nothing used"],
    ["work", `${node.work.dials} dials, ${node.work.failures} failed, ${node.work.accepted} links accepted, ${node.timers} timers`],
    ["refused", node.refusals.map((one) => `${one.count} ${one.direction}: ${one.reason}`).join(", ") || "nobody"],
  ];
  byId("about").replaceChildren(...facts.flatMap(([name, fact]) => [element("dt", {}, name), element("dd", {}, fact)]));
}

function showGraph(node) {
  const graph = byId("graph");
  const peers = node.peers.slice(0, 60);
  const parts = [];
  peers.forEach((peer, index) => {
    const angle = (index / peers.length) * 2 * Math.PI - Math.PI / 2;
    const [x, y] = [Math.cos(angle) * 215, Math.sin(angle) * 118];
    const group = drawn("g", { "data-stage": peer.stage, "data-peer": keyOf(peer) });
    const dashed = peer.stage === "connected" ? "edge" : "edge dashed";
    group.append(drawn("line", { class: dashed, x1: 0, y1: 0, x2: x * 0.92, y2: y * 0.92 }));
    const place = drawn("g", { transform: `translate(${x} ${y})` });
    place.append(drawn("path", { class: "shape", d: SHAPES[peer.stage] || SHAPES.idle, "fill-rule": "evenodd" }));
    place.append(drawn("title", {}, `${nameOf(peer)}: ${peer.stage}`));
    place.append(drawn("text", { y: y < 0 ? -14 : 22 }, nameOf(peer)));
    group.append(place);
    parts.push(group);
  });
  parts.push(drawn("circle", { class: "self", r: 11 }), drawn("text", { y: 28 }, node.name || "this node"));
  graph.replaceChildren(...parts);
  const told = Object.keys(SHAPES).map((stage) => [stage, peers.filter((peer) => peer.stage === stage).length]);
  const words = told.filter(([, count]) => count).map(([stage, count]) => `${count} ${stage}`);
  byId("more").textContent = node.peers.length > peers.length ? `and ${node.peers.length - peers.length} more, in the table` : "";
  graph.setAttribute("aria-label", "Peers around this node: " + (words.join(", ") || "none"));
}

function showThroughput(node) {
  const { received, sent, interval_ms: interval } = node.throughput;
  const top = Math.max(1024, ...received, ...sent);
  const line = (values) => values.map((value, index) =>
    `${index ? "L" : "M"}${(600 * (300 - values.length + index)) / 299} ${88 - (86 * value) / top}`).join("");
  byId("throughput").replaceChildren(
    drawn("path", { class: "in", d: line(received) }),
    drawn("path", { class: "out", d: line(sent) }),
  );
  const rate = (values) => bytes(values.length ? Math.round(values[values.length - 1] * 1000 / (interval || 1000)) : 0) + "/s";
  byId("throughput-now").textContent = `${rate(received)} in, ${rate(sent)} out`;
  byId("throughput-span").textContent = `last ${age(received.length * (interval || 1000))}, top ${bytes(top)}/s`;
}

function peerRow(peer) {
  const key = keyOf(peer);
  const links = peer.connections;
  const first = links[0];
  const button = element("button", { type: "button", "aria-expanded": String(open.has(key)), "data-peer": key }, nameOf(peer));
  button.title = key;
  button.addEventListener("click", () => {
    if (!open.delete(key)) open.add(key);
    show();
    document.querySelector(`button[data-peer="${CSS.escape(key)}"]`).focus();
  });
  const way = peer.blocked.join("; ") + (peer.next === "at" ? `; again in ${age(peer.next_ms)}` : "");
  const row = element("tr", { "data-peer": key, "data-stage": peer.stage },
    element("td", {}, button),
    element("td", { class: "number" }, mark(peer.stage), " " + peer.stage + (peer.connected_ms === null ? "" : " " + age(peer.connected_ms))),
    element("td", { class: "number" }, first ? `${first.direction === "outbound" ? "→" : "←"} ${first.remote}` : ""),
    element("td", { class: "number" }, first && first.rtt_us !== null ? (first.rtt_us / 1000).toFixed(1) + " ms" : ""),
    element("td", { class: "number" }, first ? bytes(sum(links, (link) => link.received_bytes)) : ""),
    element("td", { class: "number" }, first ? bytes(sum(links, (link) => link.sent_bytes)) : ""),
    element("td", { class: "number" }, first ? `${sum(links, (link) => link.streams.lent)} of ${sum(links, (link) => link.streams.current)}` : ""),
    element("td", { class: "number" }, first ? bytes(sum(links, (link) => link.queued_bytes)) : ""),
    element("td", { class: "way" }, way || (peer.stage === "connected" ? "nothing" : "")));
  if (!open.has(key)) return [row];
  const places = peer.addresses.map((known) => element("li", {},
    `${known.address}: ${known.attempts} attempts` + (known.last ? `, the last failure ${age(known.last.ago_ms)} ago: ${known.last.error}` : "")));
  const supports = peer.protocols.length ? [element("li", {}, "supports " + peer.protocols.join(" "))] : [];
  const cell = element("td", { colspan: "9" }, peer.why, element("ul", {}, ...places, ...supports));
  return [row, element("tr", { class: "why" }, cell)];
}

function showPeers(node) {
  const body = document.querySelector("#peers tbody");
  const focused = document.activeElement && document.activeElement.dataset.peer;
  const rows = node.peers.flatMap(peerRow);
  const empty = element("tr", {}, element("td", { colspan: "9" }, "No peers yet."));
  body.replaceChildren(...(rows.length ? rows : [empty]));
  if (focused) {
    const again = body.querySelector(`button[data-peer="${CSS.escape(focused)}"]`);
    if (again) again.focus();
  }
}

function showProtocols(node) {
  const rows = node.traffic.map((one) => element("tr", {},
    element("td", {}, one.protocol === null ? "all others" : one.protocol),
    element("td", { class: "number" }, `${one.received_messages} (${bytes(one.received_bytes)})`),
    element("td", { class: "number" }, `${one.sent_messages} (${bytes(one.sent_bytes)})`),
    element("td", { class: "number" }, String(sum(one.undelivered, (pair) => pair[1])))));
  const empty = element("tr", {}, element("td", { colspan: "4" }, "None yet."));
  document.querySelector("#protocols tbody").replaceChildren(...(rows.length ? rows : [empty]));
}

function show() {
  const node = current();
  if (!node) return;
  showTabs();
  document.title = `Headwater ${node.name || short(node.id)}`;
  showAbout(node);
  showGraph(node);
  showThroughput(node);
  showPeers(node);
  showProtocols(node);
}

function tell(state, text) {
  const place = byId("state");
  document.body.dataset.state = state;
  if (place.dataset.state !== state || place.textContent !== text) {
    place.dataset.state = state;
    place.textContent = text;
  }
}

async function ask() {
  try {
    const answer = await fetch("/status", { signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error(`it says ${answer.status}`);
    status = await answer.json();
    lastHeard = Date.now();
    tell("live", "live");
    show();
  } catch (error) {
    const since = lastHeard ? `, ${age(Date.now() - lastHeard)} ago was the last word` : "";
    tell("gone", `The node is gone or does not answer${since}. What is below is old.`);
  }
  setTimeout(ask, 1000);
}

function note(event) {
  const { event: kind, time_ms: time, node, ...rest } = JSON.parse(event.data);
  if (kind === "message" || kind === "progress") return;
  const facts = Object.entries(rest).filter(([, value]) => value !== null)
    .map(([name, value]) => `${name}=${name === "peer" || name === "id" ? short(String(value)) : value}`);
  const at = new Date(time);
  const line = element("li", { "data-event": kind },
    element("time", { datetime: at.toISOString() }, at.toLocaleTimeString()),
    ` ${node ? node + " " : ""}${kind} ${facts.join(" ")}`);
  const log = byId("log");
  log.prepend(line);
  while (log.children.length > 300) log.lastChild.remove();
}

byId("legend").replaceChildren(...Object.entries(LEGEND).map(([stage, text]) => element("li", {}, mark(stage), " " + text)));
new EventSource("/events").addEventListener("message", note);
ask();
