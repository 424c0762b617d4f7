// Zoom, and a before/after slider for two pictures of the same photograph.
//
//   <div class="compare">
//     <div class="pane"><img src="before.png" alt="..."><span class="name">before</span></div>
//     <div class="pane"><img src="after.png" alt="..."><span class="name">after</span></div>
//   </div>
//   document.querySelectorAll(".compare").forEach(compare);
//
// With a single pane there is only the zoom. Needs compare.css and a height or an aspect ratio.
// Wheel: zoom (outside of a dialog only while the focus is in the comparison). Drag: move the
// slider, or a zoomed picture. Keys: + - 0, and with Shift the arrows. Nothing else is touched.
"use strict";

function compare(stage) {
  const MOST = 16, GRIP = 28, STEP = 40; // largest zoom; reach of the slider and a step, in pixels
  const paired = stage.querySelectorAll(":scope > .pane").length > 1;
  let scale = 1, x = 0, y = 0;

  const slider = document.createElement("input");
  Object.assign(slider, { type: "range", min: 0, max: 100, step: 0.5, value: 50 });
  slider.setAttribute("aria-label", "Boundary between the left and the right picture");
  slider.addEventListener("input", draw);
  if (paired) stage.append(slider);

  const tools = document.createElement("div");
  tools.className = "zoom";
  for (const [sign, name, act] of [
    ["+", "Zoom in", () => zoom(1.5)], ["−", "Zoom out", () => zoom(1 / 1.5)],
    ["1:1", "Show the whole picture", reset],
  ]) {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", textContent: sign, title: name });
    button.setAttribute("aria-label", name);
    button.addEventListener("click", act);
    tools.append(button);
  }
  stage.append(tools);
  stage.tabIndex = 0;
  stage.setAttribute("role", "group");

  function draw() {
    x = Math.min(0, Math.max(stage.clientWidth * (1 - scale), x));
    y = Math.min(0, Math.max(stage.clientHeight * (1 - scale), y));
    stage.style.setProperty("--at", `${slider.value}%`);
    stage.style.setProperty("--view", `translate(${x}px, ${y}px) scale(${scale})`);
    stage.classList.toggle("zoomed", scale > 1);
  }

  // Zoom by a factor; the point (px, py) of the stage stays where it is.
  function zoom(factor, px = stage.clientWidth / 2, py = stage.clientHeight / 2) {
    const before = scale;
    scale = Math.min(MOST, Math.max(1, scale * factor));
    x = px - ((px - x) * scale) / before;
    y = py - ((py - y) * scale) / before;
    draw();
  }

  function pan(dx, dy) {
    x += dx;
    y += dy;
    draw();
  }

  function reset() {
    scale = 1;
    draw();
  }

  function place(event) {
    const box = stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  stage.addEventListener("wheel", (event) => {
    if (!stage.closest("dialog") && !stage.matches(":focus-within")) return;
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 400), ...place(event));
  }, { passive: false });

  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.target.closest("button")) return;
    const boundary = (slider.value / 100) * stage.clientWidth;
    const slides = paired && (scale === 1 || Math.abs(place(event)[0] - boundary) < GRIP);
    const move = (moved) => {
      if (!slides) return pan(moved.movementX, moved.movementY);
      slider.value = (100 * place(moved)[0]) / stage.clientWidth;
      draw();
    };
    stage.setPointerCapture(event.pointerId);
    stage.addEventListener("pointermove", move);
    stage.addEventListener("lostpointercapture", () => {
      stage.removeEventListener("pointermove", move);
    }, { once: true });
    if (slides) move(event);
  });

  stage.addEventListener("dragstart", (event) => event.preventDefault());

  // Return whether the key was one of ours.
  function key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return false;
    const arrow = {
      ArrowLeft: [STEP, 0], ArrowRight: [-STEP, 0], ArrowUp: [0, STEP], ArrowDown: [0, -STEP],
    }[event.key];
    if (event.key === "+" || event.key === "=") zoom(1.5);
    else if (event.key === "-") zoom(1 / 1.5);
    else if (event.key === "0") reset();
    else if (event.shiftKey && arrow) pan(...arrow);
    else return false;
    event.preventDefault();
    event.stopPropagation();
    return true;
  }
  stage.addEventListener("keydown", key);
  new ResizeObserver(draw).observe(stage);
  draw();
  return { key, reset, zoom };
}
