/** Made from the code beside it. Do not edit. */
/**
 * @param {import("@supabase/supabase-js").SupabaseClient<any, any, any, any, any>} supabase
 * @param {import("./types.js").Options} options
 */
export function calls(supabase: import("@supabase/supabase-js").SupabaseClient<any, any, any, any, any>, { functionsUrl, fetch: ownFetch, patience: mostPatience, onWait }: import("./types.js").Options): {
    rows: (query: () => PromiseLike<{
        data: any;
        error: any;
        status: number;
    }>) => Promise<any>;
    /**
     * Calls an edge function. All of them may be repeated: with their key or by their nature.
     * @template {keyof import("./types.js").Answers} Name
     * @param {Name} name
     * @param {unknown} [body]
     * @param {{ headers?: Record<string, string>, timeout?: number, patience?: number }} [how]
     * @returns {Promise<import("./types.js").Answers[Name]>}
     */
    edge<Name extends keyof import("./types.js").Answers>(name: Name, body?: unknown, { headers, timeout, patience }?: {
        headers?: Record<string, string>;
        timeout?: number;
        patience?: number;
    }): Promise<import("./types.js").Answers[Name]>;
    /**
     * @param {number} limit
     * @returns {Promise<import("./types.js").SessionEvent[]>}
     */
    events(limit: number): Promise<import("./types.js").SessionEvent[]>;
    userId(): Promise<string>;
    notFound(): Problem;
};
import { Problem } from "./problem.js";
