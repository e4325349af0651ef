/** The types of the package's calls, from those of the functions and of the database. */
import type { Database } from "./database.js";
import type { components } from "./functions.js";

type Schemas = components["schemas"];
type Tables = Database["public"]["Tables"];

export type Phase = "upcoming" | "ongoing" | "past";

/** A session as its people see it. It never holds the link that starts it. */
export type Session = Pick<
  Tables["video_sessions"]["Row"],
  | "id"
  | "host_id"
  | "title"
  | "description"
  | "scheduled_start"
  | "timezone"
  | "duration_minutes"
  | "max_participants"
  | "started_at"
  | "ended_at"
  | "join_url"
> & {
  provider: "zoom" | "external";
  status: "scheduled" | "ended" | "cancelled";
  phase: Phase;
  /** The Zoom account that it belongs to, for its host. */
  zoom_account: string | null;
  /** For the host: the code to share. */
  invite: { share_code: string } | null;
  /** The host sees everybody, a guest the own seat. */
  participants: { user_id: string; role: "host" | "participant" }[];
};

export type NewSession = Schemas["NewSession"];
export type CreatedSession = Schemas["Session"];

/** What the host may change. */
export type SessionChanges = Partial<
  Pick<
    Tables["video_sessions"]["Row"],
    "title" | "description" | "scheduled_start" | "timezone" | "duration_minutes" | "max_participants" | "join_url"
  >
> & { status?: "cancelled" | "ended" };

export type Connection = Schemas["Connection"] & { reason?: string | null };

/** A change that Zoom has not confirmed yet. */
export interface Waiting {
  session_id: string | null;
  kind: "create" | "update" | "delete" | "end";
  since: string;
  reason:
    | "sending"
    | "zoom_unavailable"
    | "meeting_running"
    | "zoom_daily_limit"
    | "zoom_not_connected"
    | "zoom_expired"
    | "zoom_other_account"
    | "given_up";
}

/** What an invitation leads to. */
export interface Preview {
  title: string;
  host_name: string | null;
  scheduled_start: string;
  timezone: string;
  duration_minutes: number;
  seats_left: number;
  joined: boolean;
}

export type EventKind =
  | "created"
  | "invited"
  | "removed"
  | "joined"
  | "left"
  | "moved"
  | "renamed"
  | "changed"
  | "started"
  | "ended"
  | "cancelled"
  | "connection_ended";

export interface SessionEvent {
  id: number;
  /** Null for an event about the Zoom connection. */
  session_id: string | null;
  kind: EventKind;
  details: {
    title?: string;
    scheduled_start?: string;
    timezone?: string;
    /** Who did it; null for Zoom, the clock, or the app's server. */
    by?: string | null;
    /** Who came or went. */
    person_id?: string;
    was?: { title: string; scheduled_start: string; duration_minutes: number };
    duration_minutes?: number;
    fields?: string[];
    held?: boolean;
    deleted?: boolean;
    reason?: string;
    zoom_account_email?: string;
  };
  created_at: string;
}

/** A link that opens the app. */
export type Link =
  | { kind: "invite"; shareCode: string }
  | { kind: "connected"; handle: string | null }
  | { kind: "refused"; code: string };

export interface Options {
  /** Where the functions are: `https://<ref>.supabase.co/functions/v1`, or the Workers' host with that path. */
  functionsUrl: string;
  /** In place of the platform's own. */
  fetch?: typeof globalThis.fetch;
  /** So many milliseconds a call goes on repeating itself. A minute, where nothing is said. */
  patience?: number;
  /** A call waits before it repeats itself; `seconds` until then. */
  onWait?: (problem: import("./problem.js").Problem, seconds: number) => void;
  /** After an edit, a cancel or a delete: what Zoom was told, or why it was not yet. */
  onSync?: (outcome: { sent: number; waiting: number } | import("./problem.js").Problem) => void;
}

export interface WatchOptions {
  /** Whether the project has Supabase Realtime. */
  realtime?: boolean;
  /** Whether a session is on or about to begin: then it is asked for more often. */
  isNear?: () => boolean;
  onProblem?: (problem: unknown) => void;
}

/** What the edge functions answer to a user. */
export interface Answers {
  "zoom-oauth-start": Schemas["ConnectionStart"];
  "zoom-disconnect": Schemas["Disconnected"];
  "refresh-token": Schemas["Connection"];
  "create-session": CreatedSession;
  "start-session": Schemas["StartUrl"];
  "join-session": any;
  "zoom-sync": Schemas["OwnSyncCounts"];
}
