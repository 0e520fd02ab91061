/** Two small pictures. Whatever they show stands in words beside them. */

import { svg } from "./dom.js";
import { day, difference, isNumber, score } from "./format.js";

/** Returns the interval of the difference between two models: right of zero the new one is better. It fits into `room` pixels. */
export function intervalChart({ difference: value, low, high }, sentence, room) {
  const [width, height, middle] = [Math.min(room, 560), 76, 30];
  const reach = Math.max(0.02, ...[value, low, high].filter(isNumber).map(Math.abs)) * 1.2;
  const x = (score) => width / 2 + (score / reach) * (width / 2 - 8);
  return svg("svg", { class: "chart", ...size(width, height), role: "img", "aria-label": sentence },
    svg("rect", { class: "worse", x: 0, y: 8, width: width / 2, height: 44, rx: 6 }),
    svg("rect", { class: "better", x: width / 2, y: 8, width: width / 2, height: 44, rx: 6 }),
    svg("line", { class: "zero", x1: x(0), x2: x(0), y1: 4, y2: 56 }),
    isNumber(low) && isNumber(high) && [
      svg("path", { class: "whisker", d: `M${x(low)} ${middle}H${x(high)}M${x(low)} ${middle - 8}v16M${x(high)} ${middle - 8}v16` }),
    ],
    svg("circle", { class: "dot", cx: x(value), cy: middle, r: 7 }),
    svg("text", { x: 8, y: 70 }, "← new model worse"),
    svg("text", { x: width / 2, y: 70, "text-anchor": "middle" }, "0"),
    svg("text", { x: width - 8, y: 70, "text-anchor": "end" }, "new model better →"),
  );
}

/** Returns the fair macro-F1 of the last decisions: a line for the model that ran, a point for each new one. It fits into `room` pixels. */
export function trendChart(trend, room) {
  const points = trend.filter((item) => isNumber(item.after) || isNumber(item.before));
  const values = points.flatMap((item) => [item.before, item.after]).filter(isNumber);
  const [width, height, left, right, top, bottom] = [room, 170, 40, 12, 14, 34];
  const [least, most] = bounds(values);
  const x = (position) => left + (points.length < 2 ? 0.5 : position / (points.length - 1)) * (width - left - right);
  const y = (value) => top + ((most - value) / (most - least)) * (height - top - bottom);
  const line = points.map((item, position) => (isNumber(item.before) ? `${x(position)} ${y(item.before)}` : null)).filter(Boolean).join("L");
  return svg("svg", { class: "chart", ...size(width, height), role: "img", "aria-label": trendWords(points) },
    [most, least].map((value) => [
      svg("line", { class: "axis", x1: left, x2: width - right, y1: y(value), y2: y(value), "stroke-opacity": 0.35 }),
      svg("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, value.toFixed(2)),
    ]),
    [points[0], points.at(-1)].map((item, end) => svg("text", {
      x: end ? width - right : left, y: height - 6, "text-anchor": end ? "end" : "start",
    }, day(item.at))),
    line && svg("path", { class: "line", d: `M${line}` }),
    points.map((item, position) => isNumber(item.after) && svg("circle", {
      class: hasPassed(item) ? "dot" : "hollow", cx: x(position), cy: y(item.after), r: hasPassed(item) ? 7 : 5,
    })),
  );
}

/** Returns true if a new model passed every gate. */
export function hasPassed(item) {
  return ["PROMOTE", "AWAITING_APPROVAL"].includes(item.verdict);
}

function size(width, height) {
  return { width, height, viewBox: `0 0 ${width} ${height}` };
}

function bounds(values) {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const room = Math.max(0.01, (most - least) * 0.1);
  return [Math.max(0, least - room), Math.min(1, most + room)];
}

function trendWords(points) {
  const passed = points.filter(hasPassed).length;
  const last = points.at(-1);
  const change = isNumber(last.before) && isNumber(last.after) ? `, ${difference(last.after - last.before)} against the model before it` : "";
  return `Macro-F1 of the last ${points.length} decisions, ${passed} of which passed every check. The newest: ${score(last.after)}${change}.`;
}
