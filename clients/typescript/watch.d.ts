/** Made from the code beside it. Do not edit. */
/**
 * @param {import("@supabase/supabase-js").SupabaseClient<any, any, any, any, any>} supabase
 * @param {ReturnType<typeof import("./calls.js").calls>} call
 * @param {(event: import("./types.js").SessionEvent) => void} onEvent
 * @param {import("./types.js").WatchOptions} how
 */
export function watchEvents(supabase: import("@supabase/supabase-js").SupabaseClient<any, any, any, any, any>, call: ReturnType<typeof import("./calls.js").calls>, onEvent: (event: import("./types.js").SessionEvent) => void, { realtime, isNear, onProblem }: import("./types.js").WatchOptions): () => void;
