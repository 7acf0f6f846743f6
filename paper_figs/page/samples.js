
// Class errors of linear training on n = alpha d samples, half of each class, as d grows; lengths in units of sigma.
// The widths of class +1 and -1 are K and 1. Formulas of theory.variants: averaging, max_margin and logistic_limit.
const BEYOND = 1.005; // n / d over the largest that separates from which on the equations of the logistic loss are solved
const SIGNS = [1, -1];

function classErrors(bias, margin, K) {
  return [Phi(zPlus(bias, margin, 1, K)), Phi(zMinus(bias, margin, 1, K))];
}

function averaging({ K, theta, eps, alpha }) {
  const W = Math.hypot(theta, Math.sqrt((K * K + 1) / (2 * alpha))), cosine = theta / W;
  return {
    midpoint: { cosine, bias: -(K * K - 1) / (2 * alpha * W) },
    reoptimised: { cosine, bias: weightedBias(theta * cosine - eps, 1, K, 0) },
  };
}

// The least of F = alpha sum_y psi((kappa - u theta - y b) / s_y) / 2 - 1 + u^2 over (u, b), psi(t) = E max(0, t + G)^2:
// F is convex, and damped Newton steps end where they are lost in rounding.
function leastShortfall({ K, theta }, alpha, kappa) {
  const at = (u, b) => {
    let sum = 0, slope = 0, [gu, gb, huu, hub, hbb] = [0, 0, 0, 0, 0];
    for (const y of SIGNS) {
      const s = y > 0 ? K : 1, t = (kappa - u * theta - y * b) / s, cdf = Phi(t), pdf = density(t, 0, 1);
      const first = t * cdf + pdf; // psi' / 2; psi'' / 2 is the distribution function
      sum += ((1 + t * t) * cdf + t * pdf) / 2;
      slope += first / s;
      gu -= first * theta / s, gb -= first * y / s;
      huu += cdf * theta * theta / s / s, hub += cdf * theta * y / s / s, hbb += cdf / s / s;
    }
    const gradient = [alpha * gu + 2 * u, alpha * gb], hessian = [alpha * huu + 2, alpha * hub, alpha * hbb];
    return { u, b, sum, slope: alpha * slope, value: alpha * sum - 1 + u * u, gradient, hessian };
  };
  let now = at(0.5, 0);
  for (let i = 0; i < 100; i++) {
    const [a, c, e] = now.hessian, [x, y] = now.gradient, scale = a * e - c * c;
    const step = [(e * x - c * y) / scale, (a * y - c * x) / scale];
    let size = 1, next;
    do next = at(now.u - size * step[0], now.b - size * step[1]);
    while (!(next.value <= now.value + 1e-15 * (1 + Math.abs(now.value))) && (size /= 2) > 1e-12);
    now = next;
    if (Math.max(Math.abs(step[0]), Math.abs(step[1])) < 1e-13) break;
  }
  return now;
}

// The largest n / d at which samples separate by more than eps: the largest (1 - u^2) / sum over (u, b).
function separableUpTo(given, eps) {
  let alpha = 1;
  for (let i = 0; i < 100; i++) {
    const { u, sum } = leastShortfall(given, alpha, eps), next = (1 - u * u) / sum;
    if (Math.abs(next - alpha) < 1e-13 * alpha) break;
    alpha = next;
  }
  return alpha;
}

// Newton's method for the margin, where the least shortfall, convex in it, is 0: from above, it stays above.
function maxMargin(given, alpha) {
  let kappa = given.theta + 1, now = leastShortfall(given, alpha, kappa);
  while (now.value < 0) now = leastShortfall(given, alpha, kappa *= 2);
  for (let i = 0; i < 60; i++) {
    const step = now.value / now.slope;
    now = leastShortfall(given, alpha, kappa -= step);
    if (Math.abs(step) < 1e-13 * (1 + kappa)) break;
  }
  return { cosine: now.u, bias: now.b };
}

// Expectations over a standard normal variable by the trapezoid rule.
const NORMALS = Array.from({ length: 65 }, (_, i) => (i - 32) / 4), MASSES = NORMALS.map((x) => density(x, 0, 1) / 4);

function lossSlope(Z, step) { // of the logistic loss at its proximal point p, where p - step / (1 + exp(p)) = Z
  let p = 0;
  for (let i = 0; i < 100; i++) {
    const chance = 1 / (1 + Math.exp(p)), change = (p - step * chance - Z) / (1 + step * chance * (1 - chance));
    p -= change;
    if (Math.abs(change) < 1e-14 * (1 + Math.abs(p))) break;
  }
  return -1 / (1 + Math.exp(p));
}

// Mean, mean of the product with the normal variable, and mean square of the slopes l_y of each class.
function slopeMeans({ K, theta, eps }, u, v, b, gamma) {
  const q = Math.hypot(u, v);
  return SIGNS.map((y) => {
    const s = y > 0 ? K : 1, means = [0, 0, 0];
    NORMALS.forEach((x, i) => {
      const slope = lossSlope(u * theta + y * b - eps * q + s * q * x, gamma * s * s);
      means[0] += MASSES[i] * slope, means[1] += MASSES[i] * slope * x, means[2] += MASSES[i] * slope * slope;
    });
    return { y, s, means };
  });
}

// The four equations in (ln u, ln v, b / u, ln gamma), each divided by its scale.
function logisticResiduals(given, alpha, x) {
  const [u, v, gamma] = [0, 1, 3].map((i) => Math.exp(x[i])), q = Math.hypot(u, v), { theta, eps } = given;
  let [noise, balance, along, across, size] = [0, 0, 0, 0, 0];
  for (const { y, s, means: [mean, noisy, square] } of slopeMeans(given, u, v, x[2] * u, gamma)) {
    noise += alpha * gamma * gamma * s * s * square / 2;
    balance += y * mean / 2, size -= mean / 2;
    along += (mean * (theta - eps * u / q) + s * noisy * u / q) / 2;
    across += (s * noisy - eps * mean) / 2;
  }
  return [noise / (v * v) - 1, balance / size, along / (size * theta), across / q * gamma * alpha - 1];
}

function solveLinear(rows) { // of a matrix with the right-hand side as its last column, by elimination with pivots
  const n = rows.length;
  for (let i = 0; i < n; i++) {
    const pivot = rows.slice(i).reduce((best, row, k) => Math.abs(row[i]) > Math.abs(rows[best][i]) ? i + k : best, i);
    [rows[i], rows[pivot]] = [rows[pivot], rows[i]];
    for (let k = 0; k < n; k++) {
      if (k === i) continue;
      const factor = rows[k][i] / rows[i][i];
      for (let j = i; j <= n; j++) rows[k][j] -= factor * rows[i][j];
    }
  }
  return rows.map((row, i) => row[n] / row[i]);
}

function newton(residuals, start) { // with a Jacobian by differences; null where it does not converge
  let x = start;
  for (let i = 0; i < 25; i++) {
    const now = residuals(x), size = Math.max(...now.map(Math.abs));
    if (!(size < Infinity)) return null;
    if (size < 1e-11) return x;
    const columns = x.map((_, j) => residuals(x.map((v, k) => v + (k === j ? 1e-7 : 0))));
    const step = solveLinear(now.map((r, k) => [...columns.map((c) => (c[k] - r) / 1e-7), r]));
    const scale = Math.min(1, 1 / Math.max(...step.map(Math.abs)));
    x = x.map((v, k) => v - scale * step[k]);
  }
  return Math.max(...residuals(x).map(Math.abs)) < 1e-9 ? x : null;
}

// Scale and bias of the logistic loss with endless data, along theta: Newton's method on two equations.
function logisticOptimum({ K, theta, eps }) {
  const margin = theta - eps;
  const gradient = ([logScale, ratio]) => {
    const scale = Math.exp(logScale), sums = [0, 0];
    for (const y of SIGNS) {
      NORMALS.forEach((x, i) => {
        const score = margin + (y > 0 ? K : 1) * x, slope = -MASSES[i] / (1 + Math.exp(scale * (score + y * ratio)));
        sums[0] += slope * score, sums[1] += slope * y;
      });
    }
    return sums;
  };
  // a start of the right size: the minimiser of the exponential loss
  const [logScale, bias] = newton(gradient, [Math.log(2 * margin / (K * K + 1)), 0]);
  return { scale: Math.exp(logScale), bias };
}

// Solutions at each n / d beyond the largest that separates, null where there is none: from endless data down, in
// steps that shrink near that place, where the norm diverges; each solution extrapolated starts the next.
function logisticLimits(given, alphas, limit) {
  const lowest = Math.min(...alphas), first = Math.max(1000, 10 * Math.max(...alphas), 10 * limit), path = new Set(alphas);
  for (let a = first; a > lowest; a = limit + 0.75 * (a - limit)) path.add(a);
  const { scale, bias } = logisticOptimum(given), { K, eps } = given;
  let x = null, before = null, failed = false;
  const found = new Map();
  for (const alpha of [...path].sort((one, other) => other - one)) {
    if (!x) { // v and gamma to first order
      const sums = slopeMeans(given, scale, 0, bias * scale, 0);
      const across = sums.reduce((sum, { s, means }) => sum + (s * means[1] - eps * means[0]) / 2, 0);
      const gamma = scale / (alpha * across);
      const noise = sums.reduce((sum, { s, means }) => sum + s * s * means[2] / 2, 0) * alpha * gamma * gamma;
      x = { alpha, at: [Math.log(scale), Math.log(noise) / 2, bias, Math.log(gamma)] };
    }
    const t = before && Math.log((alpha - limit) / (x.alpha - limit)) / Math.log((x.alpha - limit) / (before.alpha - limit));
    const starts = [...(before ? [x.at.map((v, k) => v + t * (v - before.at[k]))] : []), x.at];
    const at = failed ? null : starts.reduce((done, start) =>
      done ?? newton((v) => logisticResiduals(given, alpha, v), start), null);
    failed = !at;
    if (at) {
      if (found.size) before = x;
      x = { alpha, at };
      const [u, v] = [Math.exp(at[0]), Math.exp(at[1])], q = Math.hypot(u, v);
      found.set(alpha, { cosine: u / q, bias: at[2] * u / q });
    }
  }
  return alphas.map((alpha) => found.get(alpha) ?? null);
}

// Class errors, natural and robust, of each way of training at each n / d; null where there is none.
function sampleCurves({ K, theta, share, alphas }) {
  const given = { K, theta, eps: share * theta }, limit = separableUpTo(given, given.eps);
  const errors = (c) => c && { natural: classErrors(c.bias, c.cosine * theta, K),
    robust: classErrors(c.bias, c.cosine * theta - given.eps, K) };
  const beyond = alphas.filter((a) => a > BEYOND * limit);
  const limits = new Map(beyond.length ? logisticLimits(given, beyond, limit).map((c, i) => [beyond[i], c]) : []);
  const points = alphas.map((alpha) => {
    const { midpoint, reoptimised } = averaging({ ...given, alpha });
    const adversarial = limits.has(alpha) ? limits.get(alpha) : maxMargin(given, Math.min(alpha, limit));
    return Object.fromEntries(Object.entries({ midpoint, reoptimised, adversarial }).map(([k, c]) => [k, errors(c)]));
  });
  const optimum = errors({ cosine: 1, bias: weightedBias(theta - given.eps, 1, K, 0) });
  const ends = { midpoint: errors({ cosine: 1, bias: 0 }), reoptimised: optimum, optimum,
    adversarial: errors({ cosine: 1, bias: logisticOptimum(given).bias }) };
  return { points, ends, limit };
}

const METHODS = ["midpoint", "reoptimised", "adversarial"];
const ALPHAS = [0.5, 1, 2, 5, 10, 20, 50].map((v) => [Math.log10(v), String(v)]);

function startSamples(root) {
  const slider = root.querySelector("[name=alpha]"), ends = [Number(slider.min), Number(slider.max)];
  const grid = range(...ends, 40).map((v) => Math.pow(10, v));
  const chart = (name, top, yLabel) => {
    const drawn = new Chart(root.querySelector(name), ends, top);
    drawn.axes("n / d, samples per dimension", yLabel, 100, ALPHAS);
    return drawn;
  };
  const curve = (drawn, className, values) => {
    const kept = values.map((v, i) => [Math.log10(grid[i]), v]).filter(([, v]) => v !== undefined);
    drawn.line(className, kept.map(([x]) => x), kept.map(([, y]) => y));
  };
  const ceiling = (values) => [0.05, 0.1, 0.2, 0.5, 0.75].find((t) => Math.max(...values) <= t) ?? 1;
  function drawClasses(method, points, now, optimum, limit) {
    const values = points.flatMap((p) => p[method] ? [...p[method].robust, ...p[method].natural] : []);
    const drawn = chart(".curves", ceiling([...values, ...optimum.robust]), "error (%)");
    drawn.vertical("present", Math.log10(now.alpha));
    const place = Math.log10(limit);
    if (method === "adversarial" && place > ends[0] && place < ends[1]) {
      drawn.vertical("tick limit", place);
      drawn.add("text", { class: "name", x: drawn.x(place) - 5, y: TOP + 9, "text-anchor": "end" }, "separable");
    }
    CLASSES.forEach((label, k) => {
      drawn.line(`reference ${label}`, ends, [optimum.robust[k], optimum.robust[k]]);
      for (const kind of KINDS) {
        curve(drawn, `${kind} ${label}`, points.map((p) => p[method]?.[kind][k]));
        const value = now[method]?.[kind][k];
        if (value !== undefined) {
          drawn.add("circle", { class: `${kind} ${label}`, cx: drawn.x(Math.log10(now.alpha)), cy: drawn.y(value), r: 4 });
        }
      }
    });
  }
  function drawWorst(points, now, optimum) {
    const worst = (errors) => errors && Math.max(...errors.robust);
    const all = METHODS.flatMap((m) => points.map((p) => worst(p[m]) ?? 0));
    const drawn = chart(".worst-class", ceiling([...all, worst(optimum)]), "robust error (%)");
    drawn.vertical("present", Math.log10(now.alpha));
    drawn.line("reference", ends, [worst(optimum), worst(optimum)]);
    for (const method of METHODS) curve(drawn, `method ${method}`, points.map((p) => worst(p[method])));
  }
  function update() {
    const given = readSliders(root), curves = sampleCurves({ ...given, alphas: [...grid, given.alpha] });
    const points = curves.points.slice(0, -1), now = { ...curves.points.at(-1), alpha: given.alpha };
    drawClasses(root.querySelector("input[type=radio]:checked").value, points, now, curves.ends.optimum, curves.limit);
    drawWorst(points, now, curves.ends.optimum);
    for (const cell of root.querySelectorAll("data[data-of]")) {
      const [method, place, label] = cell.dataset.of.split(" ");
      const value = (place === "end" ? curves.ends : now)[method]?.robust[CLASSES.indexOf(label)];
      cell.value = String(value);
      cell.textContent = value === undefined ? "–" : percent(value);
    }
    root.querySelector(".separable").textContent = `${given.alpha.toFixed(2)} samples per dimension. Samples can be ` +
      `separated by more than the radius up to ${curves.limit.toFixed(2)} samples per dimension.`;
  }
  root.addEventListener("input", update);
  root.addEventListener("submit", (event) => event.preventDefault());
  root.addEventListener("reset", () => setTimeout(update));
  update();
}

if (typeof document !== "undefined") startSamples(document.querySelector("form.samples"));
