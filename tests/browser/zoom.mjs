/** The Zoom simulator's control surface, as far as the checklist needs it. Its front page documents all of it. */

export class Zoom {
  constructor(url) {
    this.url = url;
  }

  async #ask(method, path, body) {
    const answer = await fetch(`${this.url}/simulator/${path}`, {
      method,
      headers: body ? { "content-type": "application/json" } : {},
      body: body && JSON.stringify(body),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} /simulator/${path}: ${answer.status} ${text}`);
    return text ? JSON.parse(text) : null;
  }

  /** Revokes a user's tokens without telling anybody, as an administrator can. */
  revoke(email) {
    return this.#ask("POST", `users/${email}/revoke`);
  }

  state() {
    return this.#ask("GET", "state");
  }

  deleteMeeting(id) {
    return this.#ask("POST", `meetings/${id}/delete`);
  }

  /** Lets Zoom fail at an endpoint, until all faults are withdrawn. */
  failAt(endpoint) {
    return this.#ask("POST", "faults", { endpoint, effect: { answer: { status: 502 } }, times: null });
  }

  withdrawFaults() {
    return this.#ask("DELETE", "faults");
  }

  /** Sends the events that wait. */
  deliverEvents() {
    return this.#ask("POST", "webhooks/deliver", {});
  }
}
