import { readFileSync } from "node:fs";

const { BASE, WORK } = process.env;
export const authorization = `Bearer ${readFileSync(`${WORK}/token`, "utf8").trim()}`;

/** The API's answer; an error where it refuses. */
export async function ask(method, path, body, headers = {}) {
  const answer = await fetch(`${BASE}/api/v1${path}`, {
    method,
    headers: { authorization, ...(body ? { "content-type": "application/json" } : {}), ...headers },
    body: body && JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  return answer;
}

/** As `ask`: the JSON that it answers with. */
export const api = async (method, path, body) => (await ask(method, path, body)).json();
