// The normal distribution function. Near 0 its odd series (DLMF 7.6.2), whose terms all have one sign; in the
// tail the continued fraction of erfc (DLMF 7.9.4), from its end. Both to rounding: see the tests.
const ROOT2 = Math.sqrt(2);

function scaledTail(x) { // exp(x^2) erfc(x) for x >= 2
  let fraction = x;
  for (let n = 80; n > 0; n--) fraction = x + n / 2 / fraction;
  return 1 / (fraction * Math.sqrt(Math.PI));
}

function Phi(z) {
  const x = Math.abs(z) / ROOT2;
  if (x === Infinity) return z > 0 ? 1 : 0;
  let tail;
  if (x >= 2) {
    tail = scaledTail(x) * Math.exp(-x * x) / 2;
  } else {
    let term = x, sum = x;
    for (let n = 1; term > sum * 1e-17; n++) sum += term *= 2 * x * x / (2 * n + 1);
    tail = 0.5 - sum * Math.exp(-x * x) / Math.sqrt(Math.PI);
  }
  return z > 0 ? 1 - tail : tail;
}

function LogPhi(z) {
  if (z > 0) return Math.log1p(-Phi(-z));
  const x = -z / ROOT2;
  return x < 2 || x === Infinity ? Math.log(Phi(z)) : Math.log(scaledTail(x) / 2) - x * x;
}

/* FORMULAS */

// The formulas are for K >= 1. For K < 1 the classes change places: x becomes -x / K, so that class +1 has the
// spread 1 and class -1 the spread 1 / K, and a threshold is that of the mirrored score times -K.
function evaluate(given) {
  if (given.K >= 1) return wide(given);
  const { K, eta, eps, prior, cost, radius_plus, radius_minus } = given;
  const mirrored = wide({ ...given, K: 1 / K, eta: eta / K, eps: eps / K, prior: 1 - prior, cost: 1 / cost,
    radius_plus: radius_minus, radius_minus: radius_plus });
  const other = { plus: "minus", minus: "plus" };
  return Object.fromEntries(Object.entries(mirrored).map(([name, value]) => {
    const swapped = name.replace(/(plus|minus)$/, (label) => other[label]);
    return [swapped, name.endsWith("_bias") ? -K * value : value];
  }));
}

const CLASSIFIERS = ["natural", "robust", "fair"];
const CLASSES = ["plus", "minus"];
const KINDS = ["natural", "robust"];
const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 420, HEIGHT = 290, LEFT = 54, RIGHT = 12, TOP = 14, BOTTOM = 48;

function valueOf(slider) {
  const given = Number(slider.value);
  return "log" in slider.dataset ? Math.pow(10, given) : given;
}

function signed(text) {
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
}

function percent(error) {
  const value = 100 * error;
  return signed(value === 0 || Math.abs(value) >= 0.005 ? value.toFixed(2) : value.toExponential(1));
}

function element(name, attributes, text = "") {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.textContent = text;
  return node;
}

function steps(low, high) { // round numbers, four to eight of them
  const rough = (high - low) / 6, power = Math.pow(10, Math.floor(Math.log10(rough)));
  const step = power * [1, 2, 5, 10].find((n) => n * power >= rough);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) found.push(i * step);
  return { found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

class Chart {
  constructor(svg, [low, high], top) {
    this.svg = svg;
    this.x = (v) => LEFT + (v - low) / (high - low) * (WIDTH - LEFT - RIGHT);
    this.at = (px) => low + (px - LEFT) / (WIDTH - LEFT - RIGHT) * (high - low);
    this.y = (v) => HEIGHT - BOTTOM - v / top * (HEIGHT - TOP - BOTTOM);
    this.span = [low, high];
    this.top = top;
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.replaceChildren(svg.querySelector("title"), svg.querySelector("desc"));
  }

  axes(xLabel, yLabel, yScale, marks = null) { // marks: [place, text], round numbers if none
    const [low, high] = this.span, bottom = HEIGHT - BOTTOM;
    const across = steps(low, high), up = steps(0, this.top * yScale);
    for (const [v, text] of marks ?? across.found.map((x) => [x, x.toFixed(across.digits)])) {
      if (v < low || v > high) continue;
      this.add("line", { class: "tick", x1: this.x(v), x2: this.x(v), y1: bottom, y2: bottom + 4 });
      this.add("text", { x: this.x(v), y: bottom + 18, "text-anchor": "middle" }, text);
    }
    for (const v of up.found) {
      const y = this.y(v / yScale);
      this.add("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y, y2: y });
      this.add("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, v.toFixed(up.digits));
    }
    this.add("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: bottom, y2: bottom });
    this.add("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 8, "text-anchor": "middle" }, xLabel);
    this.add("text", { transform: `translate(14 ${(TOP + bottom) / 2}) rotate(-90)`, "text-anchor": "middle" },
      yLabel);
  }

  add(name, attributes, text) {
    return this.svg.appendChild(element(name, attributes, text));
  }

  line(className, xs, ys) {
    const points = xs.map((x, i) => `${this.x(x).toFixed(2)},${this.y(ys[i]).toFixed(2)}`);
    this.add("polyline", { class: className, points: points.join(" ") });
  }

  vertical(className, x) {
    this.add("line", { class: className, x1: this.x(x), x2: this.x(x), y1: TOP, y2: HEIGHT - BOTTOM });
  }

  names(places) { // the leftmost to the left of its line, the others to the right
    places.forEach(({ x, name }, i) => {
      const at = { x: this.x(x) + (i ? 5 : -5), y: TOP + 9 + 15 * Math.max(0, i - 1) };
      this.add("text", { class: "name", "text-anchor": i ? "start" : "end", ...at }, name);
    });
  }
}

function range(low, high, n) {
  return Array.from({ length: n + 1 }, (_, i) => low + (high - low) * i / n);
}

function drawErrors(svg, given, now, classifier) {
  const high = Math.max(1.25 * given.eta, 1.1 * given.eps);
  const radii = range(0, high, 200), results = radii.map((eps) => evaluate({ ...given, eps }));
  const of = (kind, label) => `${classifier}_${kind}_${label}`;
  const all = KINDS.flatMap((kind) => CLASSES.flatMap((label) => results.map((r) => r[of(kind, label)])));
  const most = Math.max(...all), top = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5].find((t) => most <= t) ?? 1;
  const chart = new Chart(svg, [0, high], top);
  chart.axes("radius ε / σ", "error (%)", 100);
  chart.vertical("present", given.eps);
  for (const kind of KINDS) {
    for (const label of CLASSES) {
      chart.line(`${kind} ${label}`, radii, results.map((r) => r[of(kind, label)]));
      const at = { cx: chart.x(given.eps), cy: chart.y(now[of(kind, label)]), r: 4 };
      chart.add("circle", { class: `${kind} ${label}`, ...at });
    }
  }
  return chart;
}

function drawScores(svg, given, now) {
  const centre = { natural: now.reach * given.eta, robust: now.reach * (given.eta - given.eps) };
  const ends = [Math.min(-centre.natural - 3.5, centre.robust - 3.2 * given.K),
    Math.max(centre.natural, -centre.robust) + 3.2 * given.K];
  const chart = new Chart(svg, ends, 0.44), xs = range(...ends, 240);
  chart.axes("score along w, in units of σ", "density", 1);
  for (const kind of KINDS) {
    chart.line(`${kind} plus`, xs, xs.map((x) => density(x, centre[kind], given.K)));
    chart.line(`${kind} minus`, xs, xs.map((x) => density(x, -centre[kind], 1)));
  }
  const places = CLASSIFIERS.map((name) => ({ name, x: -now[`${name}_bias`] }))
    .filter(({ name, x }) => x >= ends[0] && x <= ends[1] && (name !== "natural" || now.reach === now.reach_natural))
    .sort((one, other) => one.x - other.x);
  for (const { name, x } of places) chart.vertical(`threshold ${name}`, x);
  chart.names(places);
  return chart;
}

function threshold(bias) {
  return Number.isFinite(bias) ? signed((-bias).toFixed(3)) : bias > 0 ? "always +1" : "always −1";
}

function tell(root, given, now) {
  for (const cell of root.querySelectorAll("data[data-name]")) {
    const value = now[cell.dataset.name];
    cell.value = String(value);
    cell.textContent = cell.dataset.name.endsWith("bias") ? threshold(value) : percent(value);
  }
  const turned = now.reach !== now.reach_natural;
  root.querySelector(".turned").hidden = !turned;
  root.querySelector(".command").textContent = "python -m theory errors " + [
    `--dim ${given.d} --eta ${given.eta} --sigma 1 --K ${given.K} --eps ${given.eps}`,
    `--prior-pos ${given.prior} --cost ${given.cost}`,
    `--train-eps ${given.eps * given.radius_plus} ${given.eps * given.radius_minus}`].join(" ");
  root.querySelector(".summary").textContent =
    `Robust errors of class +1 and −1: robust classifier ${percent(now.robust_robust_plus)} and ` +
    `${percent(now.robust_robust_minus)} %, natural classifier ${percent(now.natural_robust_plus)} and ` +
    `${percent(now.natural_robust_minus)} %, fair classifier ${percent(now.fair_robust_plus)} % each. ` +
    `Price of fairness: ${percent(now.price)} percentage points.`;
}

function pixel(svg, event) { // where a pointer is in the units of the drawing
  return new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
}

// Pointing reads a chart, dragging moves what it is drawn for; keys do the same by the sliders.
function touch(svg, read, drag) {
  svg.addEventListener("pointerdown", (event) => {
    svg.setPointerCapture(event.pointerId);
    drag(pixel(svg, event).x);
  });
  svg.addEventListener("pointermove", (event) => {
    const { x } = pixel(svg, event);
    if (svg.hasPointerCapture(event.pointerId)) drag(x);
    read(x);
  });
  svg.addEventListener("pointerleave", () => read(null));
}

// The address has the sliders that were moved: ?K=3&eps=0.2. A value that no slider has is left out.
function recall(sliders) {
  const address = new URLSearchParams(location.search);
  for (const slider of sliders) {
    const text = address.get(slider.name);
    if (text !== null && text.trim() !== "" && Number.isFinite(Number(text))) slider.value = text;
  }
}

let waiting;
function remember(sliders) { // browsers refuse more than some hundred changes in half a minute
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    const address = new URL(location.href);
    address.search = new URLSearchParams(sliders.filter((s) => s.value !== s.defaultValue)
      .map((s) => [s.name, s.value]));
    history.replaceState(null, "", address);
  }, 150);
}

function readSliders(root) { // and write their values beside them
  const sliders = [...root.querySelectorAll("input[type=range]")];
  const given = Object.fromEntries(sliders.map((s) => [s.name, valueOf(s)]));
  for (const slider of sliders) {
    const digits = slider.step.includes(".") ? slider.step.split(".")[1].length : 0;
    const text = given[slider.name].toFixed("log" in slider.dataset ? 2 : digits);
    slider.setAttribute("aria-valuetext", text);
    root.querySelector(`#${slider.id}-value`).textContent = text;
  }
  return given;
}

function start(root) {
  const sliders = [...root.querySelectorAll("input[type=range]")];
  const hover = root.querySelector(".hover"), hint = hover.textContent;
  const set = (name, value) => {
    const slider = sliders.find((s) => s.name === name);
    slider.value = String(value);
    update();
    remember(sliders);
  };
  let errors, scores, given, now;
  const chosen = () => root.querySelector("input[type=radio]:checked").value;
  const update = () => {
    given = readSliders(root);
    now = evaluate(given);
    errors = drawErrors(root.querySelector(".errors"), given, now, chosen());
    scores = drawScores(root.querySelector(".scores"), given, now);
    tell(root, given, now);
  };
  root.addEventListener("input", () => { update(); remember(sliders); });
  root.addEventListener("submit", (event) => event.preventDefault());
  root.addEventListener("reset", () => setTimeout(() => { update(); remember(sliders); }));
  touch(root.querySelector(".errors"), (x) => {
    const eps = x === null ? -1 : errors.at(x);
    if (eps < 0) { hover.textContent = hint; return; }
    const there = evaluate({ ...given, eps }), of = (kind, label) => percent(there[`${chosen()}_${kind}_${label}`]);
    hover.textContent = `ε = ${eps.toFixed(3)}: class +1 natural ${of("natural", "plus")}, robust ` +
      `${of("robust", "plus")} %; class −1 natural ${of("natural", "minus")}, robust ${of("robust", "minus")} %`;
  }, (x) => set("eps", errors.at(x)));
  touch(root.querySelector(".scores"), (x) => {
    if (x === null) { hover.textContent = hint; return; }
    const score = scores.at(x), names = CLASSIFIERS.filter((name) => score > -now[`${name}_bias`]);
    hover.textContent = `score ${signed(score.toFixed(2))}: +1 by ${names.join(", ") || "none"}; ` +
      `−1 by ${CLASSIFIERS.filter((name) => !names.includes(name)).join(", ") || "none"}`;
  }, (x) => set("eta", Math.abs(scores.at(x)) / now.reach));
  recall(sliders);
  update();
}

if (typeof document !== "undefined") start(document.querySelector("form.explorer"));
