/**
 * What edge.rs and outbound.rs ask of the host's JavaScript. A request, an answer and a call each cross between
 * WebAssembly and JavaScript in one piece, since every crossing costs about a microsecond. A list crosses as lines of
 * text: no address, header name or header value can have a line break in it.
 */

/** The method and the address of a request, and of these headers those that it has: a name, then its value. */
export function readHead(request, names) {
  return [request.method, request.url, ...found(request.headers, names)].join("\n");
}

function found(headers, names) {
  const lines = [];
  for (const name of names.split("\n")) {
    const value = headers.get(name);
    if (value !== null) lines.push(name, value);
  }
  return lines;
}

/** The body of a request; null if it has more than `most` bytes, whatever its length is said to be. */
export async function readBody(request, most, longest) {
  if (length(request) <= most) return new Uint8Array(await request.arrayBuffer());
  const kept = [];
  let bytes = 0;
  for await (const chunk of chunks(request, longest)) {
    bytes += chunk.length;
    if (bytes <= most) kept.push(chunk);
  }
  return bytes <= most ? new Uint8Array(await new Blob(kept).arrayBuffer()) : null;
}

/** Whether there is a body that nobody has read. */
export function hasUnreadBody(request) {
  return !request.bodyUsed && request.body !== null;
}

/** Reads a body and throws it away. */
export async function discardBody(request, most, longest) {
  if (length(request) <= most) await request.arrayBuffer();
  else for await (const _ of chunks(request, longest));
}

function length(request) {
  return Number(request.headers.get("content-length") ?? Infinity);
}

/**
 * A body piece by piece. One that is too large is read nevertheless, so that a client that is still sending hears why
 * it was refused; one that sends more than `longest` is cut off.
 */
async function* chunks(request, longest) {
  const reader = request.body?.getReader();
  for (let bytes = 0; reader && bytes <= longest; ) {
    const { done, value } = await reader.read();
    if (done) return;
    bytes += value.length;
    yield value;
  }
}

/** An answer. */
export function respond(status, headers, body) {
  return new Response(body.length > 0 ? body.slice() : null, { status, headers: pairs(headers) });
}

/**
 * Sends a request once and reads the whole answer: its status, those of the named headers that it has, its body. Of a
 * failure only its name is given, `TimeoutError` if the time was over.
 */
export async function send(method, url, headers, body, milliseconds, names) {
  try {
    const answer = await fetch(url, {
      method,
      headers: pairs(headers),
      body: body.length > 0 ? body.slice() : undefined,
      signal: AbortSignal.timeout(milliseconds),
    });
    return [answer.status, found(answer.headers, names).join("\n"), new Uint8Array(await answer.arrayBuffer())];
  } catch (error) {
    return [0, String(error?.name), new Uint8Array()];
  }
}

function pairs(lines) {
  const list = lines.split("\n");
  const all = [];
  for (let at = 0; at + 1 < list.length; at += 2) all.push([list[at], list[at + 1]]);
  return all;
}
