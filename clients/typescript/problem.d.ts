/** Made from the code beside it. Do not edit. */
/** @param {unknown} [cause] */
export function offline(cause?: unknown): Problem;
export function signedOut(): Problem;
/** A failure, worded for a person. */
export class Problem extends Error {
    /**
     * @param {{ sentence: string, code?: string, status?: number, fields?: Record<string, string>, retryAfter?: number,
     *   requestId?: string }} what
     */
    constructor({ sentence, code, status, fields, retryAfter, requestId }: {
        sentence: string;
        code?: string;
        status?: number;
        fields?: Record<string, string>;
        retryAfter?: number;
        requestId?: string;
    });
    /** What happened and what to do now, in a sentence for people. */
    sentence: string;
    /** For programs: one of the contract's codes, `offline`, `signed_out`, or a code of PostgREST's. */
    code: string;
    /** Of the HTTP answer; 0 where none came. */
    status: number;
    /** What is wrong with each field of the request, by its name. */
    fields: Record<string, string>;
    /** Seconds until another try makes sense; 0 where nothing was said. */
    retryAfter: number;
    /** For support. */
    requestId: string;
}
