/** A failure, worded for a person. */
export class Problem extends Error {
  /**
   * @param {{ sentence: string, code?: string, status?: number, fields?: Record<string, string>, retryAfter?: number,
   *   requestId?: string }} what
   */
  constructor({ sentence, code = "unknown", status = 0, fields = {}, retryAfter = 0, requestId = "" }) {
    super(sentence);
    this.name = "Problem";
    /** What happened and what to do now, in a sentence for people. */
    this.sentence = sentence;
    /** For programs: one of the contract's codes, `offline`, `signed_out`, or a code of PostgREST's. */
    this.code = code;
    /** Of the HTTP answer; 0 where none came. */
    this.status = status;
    /** What is wrong with each field of the request, by its name. */
    this.fields = fields;
    /** Seconds until another try makes sense; 0 where nothing was said. */
    this.retryAfter = retryAfter;
    /** For support. */
    this.requestId = requestId;
  }
}

/** @param {unknown} [cause] */
export function offline(cause) {
  const problem = new Problem({
    code: "offline",
    sentence: "The service cannot be reached. Check your connection and try again.",
  });
  problem.cause = cause;
  return problem;
}

export function signedOut() {
  return new Problem({ code: "signed_out", status: 401, sentence: "You are signed out. Sign in and try again." });
}
