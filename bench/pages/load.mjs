// Requests over plain HTTP: so many at a time, or so many a second. Times are in milliseconds, to the last byte of the answer.
import http from "node:http";

/** Longer than the server gives a statement: what is late is counted, not cut off. */
const DEADLINE = 60_000;

const { hostname, port } = new URL(process.env.BASE_URL);
const connections = (count) => new http.Agent({ keepAlive: true, maxSockets: count });

function ask(agent, { path, headers }) {
  return new Promise((resolve, reject) => {
    const request = http.request({ agent, hostname, port, path, headers, family: 4, timeout: DEADLINE }, (answer) => {
      let bytes = 0;
      answer.on("data", (piece) => (bytes += piece.length));
      answer.on("end", () => resolve({ status: answer.statusCode, bytes }));
      answer.on("error", reject);
    });
    request.on("timeout", () => request.destroy(new Error(`no answer within ${DEADLINE} ms`)));
    request.on("error", reject);
    request.end();
  });
}

/** What came of many requests. */
function tally() {
  const seen = { ms: [], bytes: 0, failed: {}, seconds: 0 };
  const began = performance.now();
  return {
    seen,
    async one(agent, request, since = performance.now()) {
      const { status, bytes } = await ask(agent, request).catch((error) => ({ status: error.code ?? error.message, bytes: 0 }));
      if (status !== 200) seen.failed[status] = (seen.failed[status] ?? 0) + 1;
      seen.ms.push(performance.now() - since);
      seen.bytes += bytes;
      seen.seconds = (performance.now() - began) / 1000;
    },
  };
}

/** `count` requests, `atOnce` of them at a time: who has an answer asks again. `request` is given the number of each. */
export async function closed(count, atOnce, request) {
  const agent = connections(atOnce);
  const { seen, one } = tally();
  let next = 0;
  const asker = async () => {
    while (next < count) await one(agent, request(next++));
  };
  await Promise.all(Array.from({ length: atOnce }, asker));
  agent.destroy();
  return seen;
}

/** `count` requests, `perSecond` of them a second, whether or not the former are answered. Times count from when each was due. */
export async function steady(count, perSecond, request) {
  const agent = connections(1000);
  const { seen, one } = tally();
  const began = performance.now();
  const asked = [];
  for (let number = 0; number < count; number += 1) {
    const due = began + (number * 1000) / perSecond;
    const early = due - performance.now();
    if (early > 0) await new Promise((resolve) => setTimeout(resolve, early));
    asked.push(one(agent, request(number), due));
  }
  await Promise.all(asked);
  agent.destroy();
  return seen;
}

/** Opens a stream as a page does: a connection of its own, kept until `close`. `told` is called with each event's data. */
export function follow(path, cookie, told) {
  return new Promise((resolve, reject) => {
    const headers = { cookie, accept: "text/event-stream", "sec-fetch-site": "same-origin" };
    const request = http.request({ agent: false, hostname, port, path, headers, family: 4 }, (answer) => {
      if (answer.statusCode !== 200) return reject(new Error(`${path}: ${answer.statusCode}`));
      let text = "";
      answer.setEncoding("utf8");
      answer.on("data", (piece) => {
        text += piece;
        for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
          const data = text.slice(0, end).split("\n").find((line) => line.startsWith("data:"));
          if (data) told(data.slice(5));
        }
      });
      answer.on("error", () => {});
      resolve({ close: () => request.destroy() });
    });
    request.on("error", reject);
    request.end();
  });
}
