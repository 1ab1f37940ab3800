// Replaces the drawn lines by ones to zoom into. All charts of a page share one cursor and one stretch of time.

const SYNC = "page";

function color(name) {
  const probe = document.createElement("span");
  probe.className = `probe ${name}`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function written(value) {
  return value == null ? "–" : value.toLocaleString("en", { maximumSignificantDigits: 4 });
}

function moment(seconds) {
  const text = new Date(seconds * 1000).toISOString();
  return seconds % 86400 === 0 ? text.slice(0, 10) : text.slice(5, 16).replace("T", " ");
}

function drawMarks(chart, marks, limit) {
  const { ctx, bbox } = chart;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.font = `${11 * ratio}px system-ui, sans-serif`;
  for (const mark of marks) {
    const x = chart.valToPos(mark.at / 1e6, "x", true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.strokeStyle = ctx.fillStyle = color(mark.kind === "alarm" ? "attention" : "quiet");
    ctx.setLineDash(mark.kind === "alarm" ? [] : [3 * ratio, 3 * ratio]);
    ctx.beginPath(); ctx.moveTo(x, bbox.top); ctx.lineTo(x, bbox.top + bbox.height); ctx.stroke();
    if (mark.kind !== "alarm") ctx.fillText(mark.text, x + 3 * ratio, bbox.top + 11 * ratio);
  }
  if (limit != null) {
    const y = chart.valToPos(limit.value, "y", true);
    ctx.strokeStyle = ctx.fillStyle = color("broken");
    ctx.setLineDash([6 * ratio, 4 * ratio]);
    ctx.beginPath(); ctx.moveTo(bbox.left, y); ctx.lineTo(bbox.left + bbox.width, y); ctx.stroke();
    ctx.textAlign = "right";
    ctx.fillText(limit.name, bbox.left + bbox.width - 4 * ratio, y - 4 * ratio);
  }
  ctx.restore();
}

function axis() {
  const stroke = color("quiet"), line = { stroke: color("line"), width: 1 };
  return { stroke, grid: line, ticks: { ...line, size: 4 }, font: "11px system-ui, sans-serif" };
}

function options(model, width, height) {
  const limit = model.limit == null ? null : { value: model.limit, name: model.limit_name };
  const range = (chart, low, high) => {
    const values = [low, high, limit?.value].filter((value) => value != null);
    if (!values.length) return [0, 1];
    const [least, most] = [Math.min(...values), Math.max(...values)];
    const room = (most - least) * 0.08 || Math.abs(most) * 0.08 || 1;
    return [model.low ?? least - room, model.high ?? most + room];
  };
  return {
    width, height, padding: [8, 32, null, null], tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    cursor: { sync: { key: SYNC }, drag: { x: true, y: false } },
    legend: { live: true },
    scales: { x: { time: true }, y: { range } },
    axes: [{ ...axis(), space: 90, size: 24, values: (_, ticks) => ticks.map(moment) }, { ...axis(), size: 56, values: (_, ticks) => ticks.map(written) }],
    series: [
      { label: "UTC", value: "{YYYY}-{MM}-{DD} {HH}:{mm}" },
      ...model.lines.map((line, index) => ({
        label: line.name, stroke: color(`s${index % 5}`), width: 1.5, spanGaps: false,
        points: { show: line.points, size: 4 }, value: (_, value) => written(value),
      })),
    ],
    hooks: { draw: [(chart) => drawMarks(chart, model.marks, limit)] },
  };
}

function replace(figure) {
  const model = JSON.parse(figure.dataset.chart);
  if (model.times.length < 2) return;
  const plot = figure.querySelector(".plot");
  const height = Number(figure.dataset.height);
  const data = [model.times.map((at) => at / 1e6), ...model.lines.map((line) => line.values)];
  plot.replaceChildren();
  plot.classList.add("alive");
  const chart = new uPlot(options(model, plot.clientWidth, height), data, plot);
  new ResizeObserver(() => chart.setSize({ width: plot.clientWidth, height })).observe(plot);
}

function start() {
  if (typeof uPlot === "undefined") return;
  for (const figure of document.querySelectorAll("figure[data-chart]")) replace(figure);
}

addEventListener("load", start);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", start);
