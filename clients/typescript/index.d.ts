/** Made from the code beside it. Do not edit. */
/**
 * @param {import("@supabase/supabase-js").SupabaseClient<any, any, any, any, any>} supabase the app's client
 * @param {Options} options
 */
export function videoSessions(supabase: import("@supabase/supabase-js").SupabaseClient<any, any, any, any, any>, options: Options): {
    /** Whether the signed-in user may host. */
    mayHost(): Promise<boolean>;
    /** How the connection stands. @returns {Promise<Connection>} */
    zoomConnection(): Promise<Connection>;
    /** The address of Zoom's consent page, for a browser. Zoom leads back to the app: give what comes to `readLink`. */
    startConnecting(): Promise<string>;
    /**
     * Makes the connection this user's, by the handle of the way back, and says how it stands. `success=1` alone proves
     * nothing: this does.
     * @param {string} handle
     * @returns {Promise<Connection>}
     */
    confirmConnecting(handle: string): Promise<Connection>;
    /** Refreshes the connection if it is due. Call it when the app is opened: an ended connection shows at once. */
    refreshConnection(): Promise<{
        state: "not_connected" | "connected" | "expired";
        zoom_account_email: string | null;
        expires_at: string | null;
    }>;
    /** Revokes the connection at Zoom and forgets it. */
    disconnect(): Promise<{
        state: "not_connected";
        left_at_zoom: {
            changes: number;
            deletions: number;
            creations: number;
        };
    }>;
    /**
     * A page of the user's sessions, hosted and taken part in. `after` is the last session of the page before.
     * @param {Phase} phase `upcoming` and `ongoing` come by their start, `past` the newest first
     * @param {{ pageSize?: number, after?: Session }} [page]
     * @returns {Promise<Session[]>}
     */
    list(phase: Phase, { pageSize, after }?: {
        pageSize?: number;
        after?: Session;
    }): Promise<Session[]>;
    /**
     * One session that the user hosts or takes part in.
     * @param {string} sessionId
     * @returns {Promise<Session>}
     */
    session(sessionId: string): Promise<Session>;
    /**
     * Creates a session. The key makes it safe to repeat: it is repeated here while the outcome is unknown, and by the
     * app with the same key after a restart. A `Problem` with `code` `creation_running` or `zoom_outcome_unknown` means
     * that the session may still appear.
     * @param {NewSession} session
     * @param {{ idempotencyKey?: string }} [options]
     */
    create(session: NewSession, { idempotencyKey }?: {
        idempotencyKey?: string;
    }): Promise<{
        id: string;
        host_id: string;
        provider: "zoom" | "external";
        title: string;
        description: string;
        scheduled_start: string;
        timezone: string;
        duration_minutes: number;
        max_participants: number;
        status: "scheduled" | "ended" | "cancelled";
        started_at: string | null;
        ended_at: string | null;
        join_url: string;
        provider_meeting_id: string | null;
        passcode: string | null;
        settings: {
            [key: string]: boolean;
        };
        share_code: string;
        invite_url?: string;
        created_at: string;
        updated_at: string;
    }>;
    /**
     * The link that makes its holder the host. Open it at once; never store it, never show it.
     * @param {string} sessionId
     */
    start(sessionId: string): Promise<string>;
    /** Renames, moves, resizes; Zoom is told. */
    edit: (sessionId: string, changes: SessionChanges) => Promise<import("./types.js").Session>;
    /** Cancels for everybody. @param {string} sessionId */
    cancel(sessionId: string): Promise<import("./types.js").Session>;
    /** Deletes a session with all that is known of it. @param {string} sessionId */
    remove(sessionId: string): Promise<void>;
    /** Hands Zoom what waits now: `{sent, waiting}`. Edits, cancels and deletes do this by themselves. */
    syncNow(): Promise<{
        sent: import("./functions.js").components["schemas"]["Count"];
        waiting: import("./functions.js").components["schemas"]["Count"];
    }>;
    /** What Zoom has not confirmed yet, and why. @returns {Promise<Waiting[]>} */
    waiting(): Promise<Waiting[]>;
    /** What an invitation leads to, without taking a seat. @param {string} shareCode @returns {Promise<Preview>} */
    preview(shareCode: string): Promise<Preview>;
    /** Takes a seat. @param {string} shareCode @returns {Promise<Session>} */
    join(shareCode: string): Promise<Session>;
    /** Gives up the user's own seat. @param {string} sessionId */
    leave(sessionId: string): Promise<void>;
    /** Gives seats to users of the app. @param {string} sessionId @param {string[]} userIds */
    invite(sessionId: string, userIds: string[]): Promise<void>;
    /** Takes seats away; no code lets these people in again. @param {string} sessionId @param {string[]} userIds */
    uninvite(sessionId: string, userIds: string[]): Promise<void>;
    /** The code to share, for the host alone; `inviteLink` makes a link of it. @param {string} sessionId */
    shareCode(sessionId: string): Promise<string>;
    /** Makes the old code useless, and gives the new one. @param {string} sessionId */
    renewShareCode(sessionId: string): Promise<string>;
    /**
     * The user's feed, the newest first: thirty days of it.
     * @param {{ limit?: number }} [page]
     * @returns {Promise<SessionEvent[]>}
     */
    events({ limit }?: {
        limit?: number;
    }): Promise<SessionEvent[]>;
    /**
     * Calls back when something happened: read again what is shown. By Supabase Realtime where the project has it, else
     * by asking every few seconds while the page is looked at. Gives what ends it.
     * @param {(event: SessionEvent) => void} onEvent
     * @param {import("./types.js").WatchOptions} [how]
     * @returns {() => void}
     */
    watch(onEvent: (event: SessionEvent) => void, how?: import("./types.js").WatchOptions): () => void;
};
/** A new key for a creation, such as an app keeps until the session is there. It has to be unique, not secret. */
export function newKey(): string;
export { Problem } from "./problem.js";
export type Session = import("./types.js").Session;
export type NewSession = import("./types.js").NewSession;
export type SessionChanges = import("./types.js").SessionChanges;
export type Phase = import("./types.js").Phase;
export type Options = import("./types.js").Options;
export type SessionEvent = import("./types.js").SessionEvent;
export type Waiting = import("./types.js").Waiting;
export type Connection = import("./types.js").Connection;
export type Preview = import("./types.js").Preview;
export type Link = import("./types.js").Link;
export type VideoSessions = ReturnType<typeof videoSessions>;
export { inviteLink, readLink } from "./links.js";
