// Makes accounts of the stand-in, signs them in by the real OAuth flow, and prints each one's cookie and an API token of its.
const count = Number(process.argv[2]);
const { BASE_URL: BASE, GITHUB_URL: GITHUB } = process.env;

async function ask(address, status, options = {}) {
  const answer = await fetch(address, { redirect: "manual", signal: AbortSignal.timeout(20_000), ...options });
  if (answer.status !== status) throw new Error(`${address}: ${answer.status} ${await answer.text()}`);
  return answer;
}

/** The session that an answer began. */
const cookieOf = (answer) => answer.headers.getSetCookie().find((cookie) => cookie.startsWith("__Host-pinacle_session=")).split(";")[0];

async function signIn(login) {
  await ask(`${GITHUB}/_dev/accounts`, 201, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ login }) });
  const begun = await ask(`${BASE}/auth/github?return_to=/`, 303);
  const back = await ask(`${begun.headers.get("location")}&login=${login}`, 303);
  const answer = await ask(back.headers.get("location"), 303, { headers: { cookie: cookieOf(begun) } });
  if (answer.headers.get("location") !== "/") throw new Error(`${login} was sent to ${answer.headers.get("location")}`);
  const cookie = cookieOf(answer);
  const made = await ask(`${BASE}/fn/account/create-token`, 200, {
    method: "POST",
    headers: { cookie, origin: BASE, accept: "application/json" },
    body: new URLSearchParams({ name: "bench", scope: "read", expires_days: "1" }),
  });
  return { login, cookie, token: (await made.json()).token };
}

const people = [];
// One name is no part of another: the browser picks its account by name.
for (let number = 1; number <= count; number += 1) people.push(await signIn(`reader${String(number).padStart(2, "0")}`));
console.log(JSON.stringify(people));
