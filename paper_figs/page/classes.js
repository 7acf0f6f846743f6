
// Nearest-mean errors of classes of unit width in the plane. A point r (cos t, sin t) from its mean is robustly
// right iff r cos(t - angle_j) <= delta_j / 2 - eps for every other class j: along each direction an interval of r,
// from low to high, of chance exp(-low^2 / 2) - exp(-high^2 / 2); over t by the trapezoid rule.
const ANGLES = 4096;

function nearestMeanErrors({ means, eps }) {
  return means.map(([x, y], k) => {
    const faces = means.filter((_, j) => j !== k).map(([u, v]) => {
      const delta = Math.hypot(u - x, v - y);
      return { across: [(u - x) / delta, (v - y) / delta], room: delta / 2 - eps };
    });
    let right = 0;
    for (let i = 0; i < ANGLES; i++) {
      const angle = 2 * Math.PI * i / ANGLES, direction = [Math.cos(angle), Math.sin(angle)];
      let low = 0, high = Infinity;
      for (const { across, room } of faces) {
        const along = across[0] * direction[0] + across[1] * direction[1];
        if (along > 0) high = Math.min(high, room / along);
        else if (room < 0) low = Math.max(low, along < 0 ? room / along : Infinity);
      }
      if (high > low) right += Math.exp(-low * low / 2) - Math.exp(-high * high / 2);
    }
    return 1 - right / ANGLES;
  });
}

const MEANS = [[-2.2, -1.2], [0, -1.2], [2.2, -1.2], [0.3, 1.8]]; // three in a row, and one apart
const UNIT = 45; // pixels of a standard deviation
const NEAREST = 0.05; // means do not meet

function startClasses(root) {
  const svg = root.querySelector(".plane"), slider = root.querySelector("input[type=range]");
  const body = root.querySelector("tbody"), ends = [WIDTH / 2 / UNIT - 0.3, HEIGHT / 2 / UNIT - 0.3];
  let means = structuredClone(MEANS);
  const dots = means.map((_, k) => {
    const group = svg.appendChild(element("g", { class: "mean", tabindex: 0, role: "img" }));
    group.append(element("circle", { class: "reach" }), element("circle", { class: "dot", r: 7 }),
      element("text", { class: "name", x: 11, y: -9 }, String(k + 1)));
    body.insertRow().innerHTML = `<th scope=row>${k + 1}</th><td></td><td></td><td></td>`;
    return group;
  });
  const distance = (k, j) => Math.hypot(means[k][0] - means[j][0], means[k][1] - means[j][1]);
  const move = (k, place) => {
    const kept = means[k];
    means[k] = place.map((v, i) => Math.max(-ends[i], Math.min(ends[i], v)));
    if (means.some((_, j) => j !== k && distance(k, j) < NEAREST)) means[k] = kept;
    update();
  };
  function update() {
    const eps = valueOf(slider), text = eps.toFixed(2);
    slider.setAttribute("aria-valuetext", text);
    root.querySelector("#classes-eps-value").textContent = text;
    const natural = nearestMeanErrors({ means, eps: 0 }), robust = nearestMeanErrors({ means, eps });
    dots.forEach((group, k) => {
      const near = Math.min(...means.flatMap((_, j) => j === k ? [] : [distance(k, j)]));
      group.setAttribute("transform",
        `translate(${WIDTH / 2 + UNIT * means[k][0]} ${HEIGHT / 2 - UNIT * means[k][1]})`);
      group.setAttribute("aria-label", `mean of class ${k + 1}, robust error ${percent(robust[k])} %`);
      group.querySelector(".reach").setAttribute("r", UNIT * eps);
      [percent(natural[k]), percent(robust[k]), near.toFixed(2)].forEach((v, i) => {
        body.rows[k].cells[i + 1].textContent = v;
      });
    });
    const worst = robust.indexOf(Math.max(...robust));
    root.querySelector(".worst").textContent =
      `Worst: class ${worst + 1}, robust error ${percent(robust[worst])} %, natural ${percent(natural[worst])} %.`;
  }
  dots.forEach((group, k) => {
    group.addEventListener("pointerdown", (event) => group.setPointerCapture(event.pointerId));
    group.addEventListener("pointermove", (event) => {
      if (!group.hasPointerCapture(event.pointerId)) return;
      const { x, y } = pixel(svg, event);
      move(k, [(x - WIDTH / 2) / UNIT, (HEIGHT / 2 - y) / UNIT]);
    });
    group.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[event.key];
      if (!step) return;
      event.preventDefault();
      move(k, means[k].map((v, i) => v + step[i]));
    });
  });
  root.addEventListener("input", update);
  root.addEventListener("submit", (event) => event.preventDefault());
  root.addEventListener("reset", () => {
    slider.value = slider.defaultValue; // which the reset itself does only after this
    means = structuredClone(MEANS);
    update();
  });
  update();
}

if (typeof document !== "undefined") startClasses(document.querySelector("form.classes"));
