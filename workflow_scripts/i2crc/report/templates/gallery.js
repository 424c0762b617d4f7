// The gallery: the list of photographs, the detail view, and the choice of what to correct.
// `GALLERY` (photos.js) holds the experiment, classes, colours, columns, folders and photographs.
"use strict";

const get = (id) => document.getElementById(id);
const { classes, columns, folders, photos } = GALLERY;
const [TILE, GAP] = GALLERY.tile;
const TRUTH = "ground truth";
const byId = new Map(photos.map((photo) => [photo.id, photo]));

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function chips(numbers) {
  const names = numbers.map((number) => chip(classes[number], GALLERY.colors[number + 1]));
  return names.length ? names : [chip("none of the classes", GALLERY.colors[0])];
}

function chip(name, color) {
  const element = make("span", { className: "chip", textContent: name });
  element.style.setProperty("--color", color);
  return element;
}

// ---------------------------------------------------------------- corrections

// Id -> "exclude", or the class names of a relabelled photograph. What `dataset.corrections` held
// when the page was made comes first; later choices are kept by the browser until that changes.
const given = { exclude: [], relabel: {}, ...GALLERY.corrections };
// The path is in the key, because pages that are opened as files share what the browser keeps.
const KEY = JSON.stringify(
  ["i2crc", location.pathname, GALLERY.experiment, classes, GALLERY.corrections]);
const known = new Set([...byId.keys(), ...given.exclude]);
let choices = read(stored() ?? given);

function stored() {
  try {
    return JSON.parse(localStorage.getItem(KEY));
  } catch {
    return null; // the browser keeps nothing for this page, or something else wrote there
  }
}

function read({ exclude, relabel }) {
  const all = [...Object.entries(relabel), ...exclude.map((id) => [id, "exclude"])];
  return new Map(all.filter(([id]) => known.has(id)));
}

function corrections() {
  const sorted = [...choices].sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    i2crc_corrections: 1,
    exclude: sorted.filter(([, choice]) => choice === "exclude").map(([id]) => id),
    relabel: Object.fromEntries(sorted.filter(([, choice]) => choice !== "exclude")),
  };
}

function choose(id, choice) {
  if (choice) choices.set(id, choice);
  else choices.delete(id);
  try {
    localStorage.setItem(KEY, JSON.stringify(corrections()));
  } catch {
    // Private windows and full storage: the choices last as long as the page.
  }
  update();
}

function isExcluded(id) {
  return choices.get(id) === "exclude";
}

function classesOf(photo) {
  const names = choices.get(photo.id);
  return Array.isArray(names) ? names.map((name) => classes.indexOf(name)) : photo.classes;
}

function save() {
  const text = JSON.stringify(corrections(), null, 1) + "\n";
  const address = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  make("a", { href: address, download: "corrections.json" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

function showChoices() {
  const { exclude, relabel } = corrections();
  const relabelled = Object.keys(relabel).length;
  get("bar").hidden = !choices.size && !given.exclude.length && !Object.keys(given.relabel).length;
  get("choices").textContent = `${exclude.length} excluded, ${relabelled} relabelled`;
  get("all-list").replaceChildren(...[...choices].map(([id, choice]) => {
    const what = choice === "exclude" ? "excluded" : choice.join(", ") || "none of the classes";
    const undo = make("button", { type: "button", textContent: "Undo" });
    undo.setAttribute("aria-label", `Undo ${id}`);
    undo.onclick = () => choose(id, null);
    return make("li", {}, make("span", { textContent: `${id}: ${what}` }), undo);
  }));
}

// The buttons of a photograph, for its card and for the detail view.
function choiceButtons(photo) {
  const exclude = make("button", { type: "button", className: "exclude", textContent: "Exclude" });
  exclude.title = "Leave this photograph out of the training";
  exclude.onclick = () => choose(photo.id, isExcluded(photo.id) ? null : "exclude");
  const relabel = make("button", { type: "button", className: "relabel", textContent: "Relabel…" });
  relabel.title = "Choose other classes for this photograph";
  relabel.onclick = () => askClasses(photo);
  return [exclude, relabel];
}

function askClasses(photo) {
  const dialog = get("relabel"), ticked = classesOf(photo);
  get("relabel-title").textContent = `Classes of ${photo.id}`;
  get("boxes").replaceChildren(...classes.map((name, number) => {
    const box = make("input", { type: "checkbox", checked: ticked.includes(number) });
    return make("label", {}, box, " ", chip(name, GALLERY.colors[number + 1]));
  }));
  dialog.returnValue = "";
  dialog.onclose = () => {
    if (dialog.returnValue !== "apply") return;
    const boxes = [...get("boxes").querySelectorAll("input")];
    const names = classes.filter((_, number) => boxes[number].checked);
    const same = String(names) === String(photo.classes.map((number) => classes[number]));
    choose(photo.id, same && !(photo.id in given.relabel) ? null : names);
  };
  dialog.showModal();
}

// ---------------------------------------------------------------- the list

const HEAD = 34, PADDING = 8, SPACE = 16, NARROWEST = 620; // as in gallery.css, in pixels
const cards = new Map(); // id -> the element of a card that exists now
let listed = photos;
let grid = { columns: 1, width: 0, height: 0 };

const ORDERS = {
  doubt: ["doubt, highest first", (a, b) => b.doubt - a.doubt],
  iou: ["IoU, lowest first", (a, b) => (a.iou ?? 2) - (b.iou ?? 2)],
  name: ["name", () => 0],
};

function matches(photo) {
  const chosen = get("class").value, shown = get("shown").value;
  if (!photo.id.toLowerCase().includes(get("search").value.trim().toLowerCase())) return false;
  const own = classesOf(photo);
  if (chosen && !(chosen === "none" ? !own.length : own.includes(+chosen))) return false;
  return !shown || choices.has(photo.id) === (shown === "chosen");
}

function select() {
  const [, order] = ORDERS[get("order").value];
  const byName = (a, b) => (a.id < b.id ? -1 : 1);
  listed = photos.filter(matches).sort((a, b) => order(a, b) || byName(a, b));
  get("count").textContent = listed.length === photos.length
    ? `${photos.length} photographs` : `${listed.length} of ${photos.length} photographs`;
  get("nothing").hidden = listed.length > 0;
  layout();
}

function search() {
  scrollTo(0, 0);
  select();
}

function layout() {
  const width = get("list").clientWidth;
  const number = Math.max(1, Math.floor((width + SPACE) / (NARROWEST + SPACE)));
  const card = (width + SPACE) / number - SPACE;
  const strip = columns.length * (TILE + GAP) - GAP;
  const picture = ((card - 2 * PADDING - 2) * TILE) / strip;
  grid = { columns: number, width: card, height: HEAD + picture + 2 * PADDING - 1, picture };
  const rows = Math.ceil(listed.length / number);
  get("list").style.height = `${rows * (grid.height + SPACE)}px`;
  const titles = () => make("div", {}, ...columns.map((name) => make("span", { textContent: name })));
  get("titles").replaceChildren(...Array.from({ length: number }, titles));
  draw();
}

// Make the cards near the window, and remove the others.
function draw() {
  const row = grid.height + SPACE;
  const above = -get("list").getBoundingClientRect().top;
  const first = Math.max(0, Math.floor(above / row) - 1) * grid.columns;
  const last = (Math.floor((above + innerHeight) / row) + 2) * grid.columns;
  const wanted = new Map();
  for (let place = first; place < Math.min(last, listed.length); place++)
    wanted.set(listed[place].id, place);
  for (const [id, card] of cards) {
    if (wanted.has(id)) continue;
    card.remove();
    cards.delete(id);
  }
  let following = get("list").firstElementChild;
  for (const [id, place] of wanted) {
    const card = cards.get(id) ?? makeCard(listed[place]);
    // In the order of the places, because the Tab key follows the order of the elements.
    if (card === following) following = card.nextElementSibling;
    else get("list").insertBefore(card, following);
    const left = (place % grid.columns) * (grid.width + SPACE);
    Object.assign(card.style, {
      left: `${left}px`, top: `${Math.floor(place / grid.columns) * row}px`,
      width: `${grid.width}px`, height: `${grid.height}px`,
    });
    card.querySelector("a").style.height = `${grid.picture}px`;
    card.setAttribute("aria-posinset", place + 1);
    card.setAttribute("aria-setsize", listed.length);
  }
}

function makeCard(photo) {
  const image = make("img", {
    loading: "lazy", decoding: "async", src: `thumbs/${link(photo)}.webp`,
    alt: `${photo.id}: ${columns.slice(0, photo.truth ? 7 : 6).join(", ")}`,
  });
  const card = make("li", { className: "card" },
    make("div", { className: "head" },
      make("span", { className: "id", textContent: photo.id, title: photo.id }),
      make("span", { className: "chips" }),
      make("span", { className: "facts", textContent: facts(photo) }),
      ...choiceButtons(photo)),
    make("a", { href: `#/${link(photo)}` }, image));
  cards.set(photo.id, card);
  mark(card, photo);
  return card;
}

// Move the focus to a card, and scroll there if it is not in the window.
function reveal(photo) {
  const row = Math.floor(listed.indexOf(photo) / grid.columns);
  const top = get("list").getBoundingClientRect().top + row * (grid.height + SPACE);
  const covered = get("titles").offsetHeight;
  if (top < covered || top + grid.height > innerHeight - get("bar").offsetHeight) {
    scrollBy(0, top - covered - SPACE);
    draw();
  }
  cards.get(photo.id).querySelector("a").focus({ preventScroll: true });
}

function link(photo) {
  return photo.link ?? photo.id;
}

function facts(photo) {
  const iou = photo.iou === undefined ? "" : ` · IoU ${photo.iou.toFixed(3)}`;
  return `doubt ${(100 * photo.doubt).toFixed(1)} %${iou}`;
}

// Show the choice for a photograph on its card or in the detail view.
function mark(view, photo) {
  const excluded = isExcluded(photo.id);
  view.classList.toggle("excluded", excluded);
  view.classList.toggle("relabelled", Array.isArray(choices.get(photo.id)));
  view.querySelector(".exclude").setAttribute("aria-pressed", excluded);
  const shown = view.querySelector(".chips");
  shown.replaceChildren(...chips(classesOf(photo)));
  shown.title = [...shown.children].map((one) => one.textContent).join(", "); // a narrow card cuts them off
}

// ---------------------------------------------------------------- the detail view

// The address names the photograph after `#/`, so that Back closes it and a link can open it.
let current = null;
const zoom = compare(get("stage"));
const sides = { left: "photograph", right: "refined label" };

function pictures(photo) {
  const found = [{ title: "photograph", src: `photos/${link(photo)}.jpg` }];
  for (const title of columns.slice(1)) {
    if (title === "CAM") {
      for (const number of photo.classes) {
        const src = `${folders.CAM}/${link(photo)}_${number}.png`;
        found.push({ title: `CAM ${classes[number]}`, src, look: "heat", base: true });
      }
    } else if (title !== TRUTH) {
      const look = title === "saliency" ? "" : "sharp";
      found.push({ title, src: `${folders[title]}/${link(photo)}.png`, look });
    } else if (photo.truth) {
      found.push({ title, src: `truth/${link(photo)}.png`, look: "sharp" });
    }
  }
  return found;
}

function open() {
  const name = location.hash.slice(2);
  const named = photos.find((photo) => link(photo) === name);
  const dialog = get("detail");
  if (!named) return dialog.close();
  current = named;
  if (!dialog.open) {
    dialog.showModal();
    get("stage").focus();
  }
  get("detail-id").textContent = current.id;
  const buttons = choiceButtons(current);
  const measured = make("span", { textContent: facts(current) });
  get("detail-facts").replaceChildren(make("span", { className: "chips" }), measured, ...buttons);
  zoom.reset();
  compose();
  const place = listed.indexOf(current);
  get("previous").disabled = place < 1;
  get("next").disabled = place < 0 || place === listed.length - 1;
  keepFocus();
}

// The keys of the detail view work only while the focus is in it. An element that is removed or
// disabled loses the focus.
function keepFocus() {
  const focused = document.activeElement;
  if (!get("detail").contains(focused) || focused.disabled) get("stage").focus();
}

// The list stays as it was while the detail view is open, so that the arrow keys follow it.
function leave() {
  const following = [current, ...listed.slice(listed.indexOf(current) + 1)];
  current = null;
  history.replaceState(null, "", "#");
  select();
  const shown = new Set(listed);
  const nearest = following.find((photo) => shown.has(photo));
  if (nearest) reveal(nearest);
}

// Show the chosen pictures on both sides, and the row of all below.
function compose() {
  mark(get("detail"), current);
  const all = pictures(current), photograph = all[0];
  get("stage").setAttribute("aria-label", `${sides.left} and ${sides.right} of ${current.id}`);
  for (const side of ["left", "right"]) {
    const kind = sides[side].split(" ")[0];
    const picture = all.find(({ title }) => title === sides[side])
      ?? all.find(({ title }) => title.startsWith(kind)) ?? photograph;
    const layers = layersOf(picture, photograph);
    get(side).replaceChildren(...layers, make("span", { className: "name", textContent: picture.title }));
    const options = all.map(({ title }) => new Option(title, title, false, title === picture.title));
    get(`choose-${side}`).replaceChildren(...options);
  }
  get("film").replaceChildren(...all.map((picture) => {
    const button = make("button", { type: "button" },
      make("span", { className: "thumb" }, ...layersOf(picture, photograph)),
      make("span", { textContent: picture.title }));
    button.onclick = () => show("right", picture.title);
    button.classList.toggle("right", picture.title === get("choose-right").value);
    return button;
  }));
}

// The pictures that lie over each other: a map, and on request a label, over the photograph.
function layersOf(picture, photograph) {
  const top = make("img", { src: picture.src, className: picture.look ?? "", alt: picture.title });
  const over = get("over").checked && picture.look === "sharp";
  top.classList.toggle("over", over);
  return picture.base || over ? [make("img", { src: photograph.src, alt: "" }), top] : [top];
}

function show(side, title) {
  sides[side] = title;
  compose();
  keepFocus();
}

function step(by) {
  const next = listed[listed.indexOf(current) + by];
  if (!next) return;
  history.replaceState(null, "", `#/${link(next)}`);
  open();
}

function detailKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select")) return;
  if (event.target.type === "range" && event.key.startsWith("Arrow")) return;
  if (zoom.key(event)) return;
  const picture = pictures(current)[event.key - 1];
  if (event.key === "ArrowLeft") step(-1);
  else if (event.key === "ArrowRight") step(1);
  else if (event.key === "x") get("detail").querySelector(".exclude").click();
  else if (event.key === "r") get("detail").querySelector(".relabel").click();
  else if (event.key === "o") get("over").click();
  else if (picture) show("right", picture.title);
  else return;
  event.preventDefault();
}

// ---------------------------------------------------------------- the start

function update() {
  showChoices();
  for (const [id, card] of cards) mark(card, byId.get(id));
  if (current) mark(get("detail"), current);
  else select();
}

function start() {
  const has = (test) => photos.some(test);
  get("class").append(new Option("all", ""), ...classes.map((name, number) => new Option(name, number)));
  if (has((photo) => !photo.classes.length)) get("class").append(new Option("none of the classes", "none"));
  for (const [name, [text]] of Object.entries(ORDERS))
    if (name !== "iou" || has((photo) => photo.iou !== undefined))
      get("order").append(new Option(text, name));
  get("legend").append(
    ...["background", ...classes].map((name, number) => make("li", {}, chip(name, GALLERY.colors[number]))),
    make("li", {}, chip("ignored", GALLERY.ignored)));

  get("controls").addEventListener("submit", (event) => event.preventDefault());
  for (const id of ["search", "class", "order", "shown"]) get(id).addEventListener("input", search);
  addEventListener("scroll", draw, { passive: true });
  new ResizeObserver(layout).observe(document.querySelector("main"));
  get("save").onclick = save;
  get("review").onclick = () => get("all").showModal();
  get("undo-all").onclick = () => { choices.clear(); choose("", null); };

  addEventListener("hashchange", open);
  get("detail").addEventListener("keydown", detailKey);
  get("detail").addEventListener("close", leave);
  get("close").onclick = () => get("detail").close();
  get("previous").onclick = () => step(-1);
  get("next").onclick = () => step(1);
  for (const side of ["left", "right"])
    get(`choose-${side}`).onchange = (event) => show(side, event.target.value);
  get("over").onchange = compose;

  showChoices();
  select();
  open();
}

start();
