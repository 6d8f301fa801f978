// @ts-check
/** The JSON API and the server functions of a page. */

import { ROOT } from "./urls.js";

/** An error that the server explains; `status` is that of HTTP. */
export class ApiError extends Error {
  /**
   * @param {string} message
   * @param {number} status
   */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** The header tells the server that a script of this origin sends the request. */
const JSON_HEADERS = { "content-type": "application/json", "x-lskd": "1" };

/**
 * Call the API; GET without a body. The result has the type of the route: see payloads.d.ts.
 * @param {string} path
 * @param {object} [body]
 * @param {"POST" | "PUT" | "PATCH" | "DELETE"} [method]
 * @returns {Promise<any>}
 */
export async function call(path, body, method = "POST") {
  const request = body === undefined
    ? { headers: { accept: "application/json" } }
    : { method, keepalive: true, headers: JSON_HEADERS, body: JSON.stringify(body) };
  return checked(await fetch(`${ROOT}${path}`, request));
}

/**
 * Send a file as it is; the result is JSON.
 * @param {string} path
 * @param {File} file
 * @returns {Promise<any>}
 */
export async function upload(path, file) {
  return checked(await fetch(`${ROOT}${path}`, { method: "POST", headers: { "x-lskd": "1" }, body: file }));
}

/**
 * The JSON of a response.
 * @param {Response} response
 */
async function checked(response) {
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new ApiError(answer.error ?? response.statusText, response.status);
  return answer;
}

/**
 * Send a request whose response is one JSON object per line; yields them as they arrive.
 * @param {string} path
 * @param {object} body
 * @returns {AsyncGenerator<any, void>}
 */
export async function* stream(path, body) {
  const response = await fetch(`${ROOT}${path}`, { method: "POST", headers: JSON_HEADERS, body: JSON.stringify(body) });
  if (!response.ok || !response.body) return void (await checked(response));
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ;) {
    const { value, done } = await reader.read();
    const lines = (rest + (value ?? "")).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) yield JSON.parse(line);
    if (done) return;
  }
}

/** @typedef {Record<string, (body: object) => Promise<any>>} Server Functions that Gradio offers to the page. */

/**
 * A function that calls one of the page's server functions; `R` has their results by name. A user
 * error is thrown: see `catch_user_errors` of annotator/pages/shell.py.
 * @template {object} R
 * @param {Server} server
 * @returns {<K extends keyof R & string>(name: K, body?: object) => Promise<R[K]>}
 */
export function caller(server) {
  return async (name, body = {}) => {
    const answer = await server[name]?.(body);
    // A result may have an error of its own among its fields, as the state of a job has.
    if (answer?.error && Object.keys(answer).length === 1) throw new Error(answer.error);
    return answer;
  };
}
