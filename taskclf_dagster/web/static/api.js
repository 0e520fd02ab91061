/** Requests to the API of this server, and their errors in words. */

const TOKEN = document.querySelector('meta[name="taskclf-token"]');
const TIMEOUT_MS = 15000;

/** The path of this page; that of a report is below it. */
export const PAGE = metaOf("taskclf-page");
const API = metaOf("taskclf-api");

/** The server did not answer: it ended, restarts, or the network is down. */
export class ServerLost extends Error {}

/** The server refused a request. `problem` is its problem document (RFC 9457). */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `The server answered with status ${status}.`);
    this.status = status;
    this.problem = problem;
  }
}

/** Returns the answer to GET as {body, etag}. */
export async function get(path) {
  return send("GET", path);
}

/** Sends a change as JSON, with the token of this page, and returns {body, etag}. */
export async function change(method, path, body, headers = {}) {
  try {
    return await send(method, path, body, headers);
  } catch (error) {
    // A server that started again has another token: the page is read anew for it, once.
    if (!(error instanceof Refused) || error.status !== 403 || error.problem.kind === "read_only" || !(await renewToken())) throw error;
    return send(method, path, body, headers);
  }
}

async function send(method, path, body, headers = {}) {
  const options = { method, headers: { Accept: "application/json", ...headers }, signal: AbortSignal.timeout(TIMEOUT_MS), cache: "no-store" };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    Object.assign(options.headers, { "Content-Type": "application/json", "X-Taskclf-Token": TOKEN.content });
  }
  const answer = await answerOf(`${API}/${path}`, options);
  const text = await answer.text().catch(() => "");
  if (!answer.ok) throw new Refused(answer.status, problemOf(text));
  return { body: parsed(text), etag: answer.headers.get("ETag") };
}

async function answerOf(url, options) {
  try {
    const answer = await fetch(url, options);
    // What a proxy says while the server behind it is away.
    if ([502, 503, 504].includes(answer.status) && !isProblem(answer)) throw new ServerLost(`status ${answer.status}`);
    return answer;
  } catch (error) {
    throw error instanceof ServerLost ? error : new ServerLost(error.message);
  }
}

async function renewToken() {
  const answer = await answerOf(PAGE, { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const token = page.querySelector('meta[name="taskclf-token"]')?.content;
  if (!token || token === TOKEN.content) return false;
  TOKEN.content = token;
  return true;
}

function metaOf(name) {
  return document.querySelector(`meta[name="${name}"]`).content;
}

function isProblem(answer) {
  return (answer.headers.get("Content-Type") ?? "").includes("json");
}

function problemOf(text) {
  const problem = parsed(text);
  return problem !== null && typeof problem === "object" ? problem : {};
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
