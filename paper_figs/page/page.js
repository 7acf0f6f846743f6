// A link leads to what is folded, and the contents follow the reader.
function unfold() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  for (let up = target; up; up = up.parentElement) if (up.tagName === "DETAILS") up.open = true;
  target.querySelector(":scope > details")?.setAttribute("open", "");
  target.scrollIntoView();
}
addEventListener("hashchange", unfold);
unfold();

const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.hash.slice(1), a]));
const places = [...document.querySelectorAll("main section[id]")].filter((s) => links.has(s.id));
function follow() { // the last that begins above a third of the screen
  const now = places.filter((s) => s.getBoundingClientRect().top < innerHeight / 3).pop() ?? places[0];
  for (const [id, link] of links) {
    if (id === now?.id) link.setAttribute("aria-current", "location");
    else link.removeAttribute("aria-current");
  }
}
addEventListener("scroll", follow, { passive: true });
follow();
