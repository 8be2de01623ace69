// Opens an event stream that says which tab it belongs to, so that the server knows a reload from a departure.
//
//   import { connect } from "/sfere.js";
//   const stream = connect("/events?name=brian", { signs: "/signs?name=brian" });
//   stream.addEventListener("message", (event) => { ... });
//
// It is the browser's own EventSource, with three things added: the tab's id in the query; a POST to `signs` when the tab
// is hidden or visible again; and, when asked for, a beat every `beat` seconds and a `leave` when the page goes. A page that
// goes closes its stream, and is loaded anew when it comes back from the browser's cache of pages. Options:
//   signs   where to POST; nothing is sent without it
//   beat    seconds between signs of life, for streams behind a proxy; 0 sends none
//   leave   true says "leave" when the page is left; a reload then is a departure, so rarely what you want
//   cursor  the id with which the page was rendered: what happened since comes first
//   key     tells several streams of one page apart

// Kept for as long as the tab: a reload finds it again. Where storage is forbidden, it is kept for the page alone.
const page = {};

function find(name) {
  try {
    return page[name] || sessionStorage.getItem(name);
  } catch {
    return page[name];
  }
}

function keep(name, value) {
  page[name] = value;
  try {
    sessionStorage.setItem(name, value);
  } catch {}
  return value;
}

function fresh() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (n) => n.toString(16).padStart(2, "0")).join("");
}

export function connect(url, { signs = null, beat = 0, leave = false, cursor = null, key = "sfere-tab", ...init } = {}) {
  const tab = keep(key, find(key) || fresh());
  const target = new URL(url, location.href);
  target.searchParams.set("tab", tab);
  if (cursor !== null) target.searchParams.set("last_event_id", cursor);
  const stream = new EventSource(target, init);

  // A beacon outlives the page; it is a form, which needs no preflight.
  const say = (sign) => signs !== null && navigator.sendBeacon(signs, new URLSearchParams({ tab, sign }));
  const onVisibility = () => say(document.hidden ? keep(key + "-sign", "hidden") : "visible");
  // To the server a tab is as it was when its stream broke. Meanwhile it may have been shown, by a page before this one
  // or without a network; only of one that was never hidden there is nothing to say.
  const onOpen = () => (document.hidden || find(key + "-sign")) && onVisibility();
  // Without the close, a page that the browser keeps for its back button would keep its stream; and as the last thing
  // every page is hidden, which is no sign of anything.
  const onHide = () => {
    if (leave) say("leave");
    stream.close();
    addEventListener("pageshow", (event) => event.persisted && location.reload());
  };
  const timer = beat > 0 ? setInterval(() => say("beat"), beat * 1000) : 0;
  document.addEventListener("visibilitychange", onVisibility);
  addEventListener("pagehide", onHide);
  stream.addEventListener("open", onOpen);

  const close = stream.close.bind(stream);
  stream.close = () => {
    clearInterval(timer);
    document.removeEventListener("visibilitychange", onVisibility);
    removeEventListener("pagehide", onHide);
    close();
  };
  stream.tab = tab;
  return stream;
}
