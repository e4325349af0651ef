/** Made from docs/openapi.yaml. Do not edit. */
export interface paths {
    "/zoom-oauth-start": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Begin to connect Zoom
         * @description Gives the address of Zoom's consent page, for the host's browser. It can be used once, for ten minutes; a host has
         *     five at most, the oldest give way. Zoom sends the browser on to `zoom-oauth-callback`.
         */
        post: operations["startZoomConnection"];
        delete?: never;
        /**
         * CORS preflight
         * @description Needs no credentials. The same for every function.
         */
        options: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                204: components["responses"]["Preflight"];
                500: components["responses"]["Fault"];
            };
        };
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/zoom-oauth-callback": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Come back from Zoom's consent page
         * @description Called by the host's browser, which Zoom sends here; never by the app. Exchanges the code, keeps what Zoom gave for ten
         *     minutes, and leads back to the app: `APP_REDIRECT_URI` with `success=1&handle=…`, or with `error=` and one of the codes
         *     below. The app completes the connection with the handle, by the database's `confirm_zoom_connection(handle)`, as the
         *     user who asked for the consent page. Nobody else can, and nothing is connected before.
         *
         *     | `error` | meaning | status of the page |
         *     |---|---|---|
         *     | `access_denied` | the host said no | 400 |
         *     | `invalid_state` | this address was not made by `zoom-oauth-start`, is not complete, or was used with another code | 400 |
         *     | `state_expired` | the ten minutes are over | 400 |
         *     | `missing_scope` | Zoom did not grant all that is needed | 400 |
         *     | `zoom_unavailable` | Zoom could not be understood; try again later | 503 |
         *     | `token_exchange_failed` | Zoom refused; start again | 502 |
         *     | `server_error` | a fault on our side | 500 |
         *
         *     Where `APP_REDIRECT_URI` is an `https` address, or `ZOOM_REDIRECT_URI` lies on Supabase's shared domain, which serves no
         *     HTML, the way back is a 302. Elsewhere it is a small page, without scripts, that opens the app's link and has a button
         *     for it. Coming twice with the same code gives the first outcome again, and exchanges nothing. Parameters that are not listed are ignored;
         *     nothing of the request reaches the page or the link.
         */
        get: operations["finishZoomConnection"];
        put?: never;
        post?: never;
        delete?: never;
        /**
         * CORS preflight
         * @description Needs no credentials. The same for every function.
         */
        options: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                204: components["responses"]["Preflight"];
                500: components["responses"]["Fault"];
            };
        };
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/zoom-disconnect": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * End the connection to Zoom
         * @description For ten seconds at most, it settles creations whose outcome is unknown, and tells Zoom what the app has changed in
         *     sessions. `left_at_zoom` says what is left: that waits until the same Zoom account is connected again. Then it revokes
         *     the connection's tokens at Zoom and forgets them, also while Zoom is down. Without a connection it does nothing. Sessions
         *     stay; the host cannot start them until the same Zoom account is connected again.
         */
        post: operations["disconnectZoom"];
        delete?: never;
        /**
         * CORS preflight
         * @description Needs no credentials. The same for every function.
         */
        options: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                204: components["responses"]["Preflight"];
                500: components["responses"]["Fault"];
            };
        };
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/refresh-token": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Keep connections alive
         * @description **A user** refreshes the own connection, unless its access token is good for ten more minutes, and learns how it stands.
         *
         *     **A service** refreshes all connections that are due, at most 100 in a run and for 20 seconds. A connection is due if it
         *     will be needed within ten minutes, or has not been refreshed for 30 days. A run also rotates keys:
         *     it seals the tokens of up to 200 connections with the first key of `TOKEN_ENCRYPTION_KEYS`.
         */
        post: operations["refreshToken"];
        delete?: never;
        /**
         * CORS preflight
         * @description Needs no credentials. The same for every function.
         */
        options: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                204: components["responses"]["Preflight"];
                500: components["responses"]["Fault"];
            };
        };
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/create-session": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Create a session
         * @description Creates a session and its Zoom meeting, or, with `provider: external`, a session with the host's own link.
         *
         *     **Idempotency.** With an `Idempotency-Key`, repeating a request gives the session that the first one made: once it
         *     exists with 200, until then with 409. The same key with other values is refused with 422. Keys are the host's own, and
         *     are kept for seven days; a key whose creation failed is free again. Without a key, every request makes a session.
         *
         *     **What an error means.** After `zoom_outcome_unknown` the session may still appear: nobody said whether it was made, and
         *     what became of it is settled within minutes. After any other error it never will.
         */
        post: operations["createSession"];
        delete?: never;
        /**
         * CORS preflight
         * @description Needs no credentials. The same for every function.
         */
        options: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                204: components["responses"]["Preflight"];
                500: components["responses"]["Fault"];
            };
        };
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/start-session": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Get the link that starts a session
         * @description Whoever holds the link *is* the host in Zoom: open it, and do not keep it. It is good for ten minutes at least. Of an
         *     external session it is the host's own link, and does not run out.
         */
        post: operations["startSession"];
        delete?: never;
        /**
         * CORS preflight
         * @description Needs no credentials. The same for every function.
         */
        options: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                204: components["responses"]["Preflight"];
                500: components["responses"]["Fault"];
            };
        };
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/join-session": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Join by share code
         * @description Takes a seat in the session that the code leads to, or, with `preview`, only shows what the code is to. Dashes, spaces
         *     and letter case do not matter. A code that leads to a session which is full, cancelled or over, or from which its host
         *     removed the caller, answers like a wrong one; only those who take part see the session. After ten wrong codes in ten
         *     minutes nothing is answered for a while.
         */
        post: operations["joinSession"];
        delete?: never;
        /**
         * CORS preflight
         * @description Needs no credentials. The same for every function.
         */
        options: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                204: components["responses"]["Preflight"];
                500: components["responses"]["Fault"];
            };
        };
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/zoom-webhook": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Take an event of Zoom's
         * @description The address of the Zoom app's event subscription and of its deauthorization notification. Each event counts once,
         *     however often and in whatever order it comes; 200 means that it has been dealt with for good, a 5xx that Zoom should
         *     deliver it again. An event older than `ZOOM_WEBHOOK_MAX_AGE_SECONDS` (two hours) is refused.
         */
        post: operations["receiveZoomEvent"];
        delete?: never;
        /**
         * CORS preflight
         * @description Needs no credentials. The same for every function.
         */
        options: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                204: components["responses"]["Preflight"];
                500: components["responses"]["Fault"];
            };
        };
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/zoom-sync": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Tell Zoom what was changed
         * @description **A user** has the own changes of sessions sent to Zoom at once: an app calls this right after a change, and does not wait
         *     for the clock. `waiting` counts what Zoom has not confirmed yet, for which the clock goes on. The call sends
         *     for ten seconds at most. Each Zoom account gets two changes at a time, from all callers together.
         *
         *     **A service** runs what runs by the clock. One question to the database says what there is to do: changes are sent to
         *     Zoom, creations whose outcome is unknown are settled, connections that were left are revoked, those that are due are
         *     refreshed, what has run out is removed. All of that happens side by side, six calls at a time, for 45 seconds or
         *     1,800 calls at most; the next run goes on. If a part fails, the others run all the same, and the first failure is
         *     answered. Several runs at once share the work.
         */
        post: operations["synchronize"];
        delete?: never;
        /**
         * CORS preflight
         * @description Needs no credentials. The same for every function.
         */
        options: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                204: components["responses"]["Preflight"];
                500: components["responses"]["Fault"];
            };
        };
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /**
         * @description A refusal or a failure.
         *
         *     | status | codes |
         *     |---|---|
         *     | 400 | `invalid_json`, `invalid_request` |
         *     | 401 | `unauthorized`, `token_expired` |
         *     | 403 | `not_a_host`, `not_the_host`, `zoom_not_connected`, `zoom_expired`, `zoom_other_account`, `missing_scope`, `zoom_cannot_host`, `anonymous_not_allowed` |
         *     | 404 | `session_not_found`, `session_not_joinable` |
         *     | 405 | `method_not_allowed` |
         *     | 409 | `creation_running` |
         *     | 410 | `session_ended`, `session_gone` |
         *     | 413 | `payload_too_large` |
         *     | 415 | `unsupported_media_type` |
         *     | 422 | `idempotency_key_reused` |
         *     | 429 | `zoom_daily_limit`, `too_many_attempts`, `quota_reached` |
         *     | 500 | `misconfigured`, `internal` |
         *     | 502 | `zoom_rejected` |
         *     | 503 | `zoom_rate_limited`, `zoom_unavailable`, `zoom_outcome_unknown`, `service_unavailable` |
         */
        Error: {
            /** @description A sentence for a person. */
            error: string;
            /**
             * @description For programs. It does not change.
             * @enum {unknown}
             */
            code: "invalid_json" | "invalid_request" | "unauthorized" | "token_expired" | "not_a_host" | "not_the_host" | "zoom_not_connected" | "zoom_expired" | "zoom_other_account" | "missing_scope" | "zoom_cannot_host" | "session_not_found" | "session_not_joinable" | "anonymous_not_allowed" | "too_many_attempts" | "quota_reached" | "method_not_allowed" | "creation_running" | "session_ended" | "session_gone" | "payload_too_large" | "unsupported_media_type" | "idempotency_key_reused" | "zoom_daily_limit" | "misconfigured" | "internal" | "zoom_rejected" | "zoom_rate_limited" | "zoom_unavailable" | "zoom_outcome_unknown" | "service_unavailable";
            /**
             * Format: uuid
             * @description The same as in `x-request-id`.
             */
            request_id: string;
            /** @description With `invalid_request` only. What is wrong with each field. */
            fields?: {
                [key: string]: string;
            };
        };
        ConnectionStart: {
            /**
             * Format: uri
             * @description Zoom's consent page.
             */
            auth_url: string;
            /**
             * Format: date-time
             * @description Until then the host has to be back.
             */
            expires_at: string;
        };
        Disconnected: {
            /** @constant */
            state: "not_connected";
            /** @description What Zoom does not know of this host's sessions, by count. */
            left_at_zoom: {
                /** @description Meetings with an old title, time or description. */
                changes: number;
                /** @description Meetings of sessions that were cancelled, ended or deleted. */
                deletions: number;
                /** @description Sessions that may or may not have a meeting in Zoom. */
                creations: number;
            };
        };
        /** @description How the caller's connection stands. */
        Connection: {
            /**
             * @description `expired`: the host has to connect again.
             * @enum {unknown}
             */
            state: "not_connected" | "connected" | "expired";
            zoom_account_email: string | null;
            /**
             * Format: date-time
             * @description When the connection lapses unless it is used, about 90 days after the last refresh.
             */
            expires_at: string | null;
        };
        RefreshCounts: {
            /** @description Connections with a fresh access token now. */
            refreshed: components["schemas"]["Count"];
            /** @description Connections that turned out to have ended. */
            expired: components["schemas"]["Count"];
            /** @description Connections that could not be refreshed this time. */
            failed: components["schemas"]["Count"];
            /** @description Connections that are due and were left for the next run. */
            remaining: components["schemas"]["Count"];
            /** @description Connections that carry the first key's seal now. */
            resealed: components["schemas"]["Count"];
            /** @description Connections, and departed ones not yet revoked, that still need an older key. At 0, all keys but the first can go. */
            on_older_keys: components["schemas"]["Count"];
        };
        Count: number;
        NewSession: {
            /** @description One line, without control characters. White space around it is removed. */
            title: string;
            /** @description May have several lines. White space around it is removed. */
            description?: string | null;
            /**
             * Format: date-time
             * @description With an offset. At most five minutes past, unless the request repeats one that had the same `Idempotency-Key`, and at
             *     most five years (of 365 days) ahead.
             */
            scheduled_start: string;
            /**
             * @description The name of a time zone as the device reports it: any name in the IANA database, old ones and abbreviations too, or
             *     `GMT+02:00`. `UTC` where it is left out. Zoom's own pages show a zone that Zoom knows and that has the same rules,
             *     or the host's own where there is no such zone.
             */
            timezone?: string | null;
            /**
             * @description A whole number, without a decimal point.
             * @enum {integer}
             */
            duration_minutes: 30 | 45 | 60;
            /** @description The host counts as one. A whole number, without a decimal point. */
            max_participants: number;
            /**
             * @description Users who take part from the beginning, in any order; each counts once. Not the host, only users that exist, and with
             *     the host not more than `max_participants`.
             */
            participant_ids?: string[] | null;
            /**
             * @description `zoom` where it is left out.
             * @enum {unknown}
             */
            provider?: "zoom" | "external" | null;
            /**
             * Format: uri
             * @description The host's own link, with `external` and only then. `https`, without user name and password.
             */
            join_url?: string | null;
            /**
             * @description How the meeting behaves, where that is other than the installation's choice (`ZOOM_MEETING_SETTINGS`). `host`: as the
             *     host has it in Zoom. An account may lock a setting and overrule this: the session says what Zoom made of it. Not with
             *     `external`.
             */
            settings?: {
                /** @enum {unknown} */
                waiting_room?: true | false | "host";
                /** @enum {unknown} */
                join_before_host?: true | false | "host";
                /** @enum {unknown} */
                mute_upon_entry?: true | false | "host";
                /** @enum {unknown} */
                host_video?: true | false | "host";
                /** @enum {unknown} */
                participant_video?: true | false | "host";
            } | null;
        };
        /** @description A session as its host sees it. Never has the link that starts it. */
        Session: {
            /** Format: uuid */
            id: string;
            /** Format: uuid */
            host_id: string;
            /** @enum {unknown} */
            provider: "zoom" | "external";
            title: string;
            description: string;
            /** Format: date-time */
            scheduled_start: string;
            timezone: string;
            /** @description 30, 45 or 60, unless the host has changed the meeting in Zoom. */
            duration_minutes: number;
            max_participants: number;
            /**
             * @description Follows from what happened to the meeting, the clock, and what people did. `phase` says what it means for a list:
             *     see `my_video_sessions` below.
             * @enum {unknown}
             */
            status: "scheduled" | "ended" | "cancelled";
            /** Format: date-time */
            started_at: string | null;
            /** Format: date-time */
            ended_at: string | null;
            /**
             * Format: uri
             * @description What participants open.
             */
            join_url: string;
            /** @description Zoom's meeting number as text, since it may pass 2^53. `null` for an external session. */
            provider_meeting_id: string | null;
            passcode: string | null;
            /** @description What Zoom made of the meeting's settings. Empty for an external session. */
            settings: {
                [key: string]: boolean;
            };
            /** @description Lets its holder join, by `join-session`. The host replaces it by the database's `renew_share_code`. */
            share_code: string;
            /**
             * Format: uri
             * @description `APP_INVITE_URI` with the share code, behind `#` where it is a web page, else in the query; absent where that is not configured.
             */
            invite_url?: string;
            /** Format: date-time */
            created_at: string;
            /** Format: date-time */
            updated_at: string;
        };
        Invitation: {
            share_code: string;
            /** @description Only shows what the code is to. */
            preview?: boolean;
        };
        SessionPreview: {
            title: string;
            host_name: string | null;
            /** Format: date-time */
            scheduled_start: string;
            timezone: string;
            duration_minutes: number;
            seats_left: number;
            /** @description Whether the caller takes part already. */
            joined: boolean;
        };
        /** @description A session as its participants see it. */
        JoinedSession: {
            /** Format: uuid */
            id: string;
            /** Format: uuid */
            host_id: string;
            /** @enum {unknown} */
            provider: "zoom" | "external";
            title: string;
            description: string;
            /** Format: date-time */
            scheduled_start: string;
            timezone: string;
            duration_minutes: number;
            max_participants: number;
            /** @enum {unknown} */
            status: "scheduled" | "ended" | "cancelled";
            /** Format: date-time */
            started_at: string | null;
            /** Format: date-time */
            ended_at: string | null;
            /** Format: uri */
            join_url: string;
            provider_meeting_id: string | null;
            passcode: string | null;
            settings: {
                [key: string]: boolean;
            };
            /** Format: date-time */
            created_at: string;
            /** Format: date-time */
            updated_at: string;
        };
        SessionStart: {
            /** Format: uuid */
            session_id: string;
        };
        StartUrl: {
            /** Format: uri */
            host_start_url: string;
            /**
             * Format: date-time
             * @description `null` for an external session.
             */
            expires_at: string | null;
        };
        ZoomEvent: {
            /** @description Other events than those described below are answered with `ignored`. */
            event: string;
            /** @description When it happened, in milliseconds since 1970. Where it is absent, or makes no sense, the event happens now; never later. */
            event_ts?: unknown;
            /** @description What it is about. Each kind of event has a form of its own. */
            payload?: unknown;
        } & (unknown & unknown & unknown);
        /**
         * @description Each field is read for itself: one that makes no sense, such as the year 1 of a meeting without a fixed time, is left out,
         *     and the rest counts.
         */
        MeetingPayload: {
            /** @description The Zoom account that the event comes from. One of another account than the meeting's is not believed. */
            account_id?: unknown;
            object: {
                /** @description Zoom's meeting number, as text in some events and as a number in others. */
                id: string | number;
                /** @description Which of the times that the meeting is held. */
                uuid?: unknown;
                /** @description Text. */
                topic?: unknown;
                /** @description An instant. */
                start_time?: unknown;
                /** @description An instant. */
                end_time?: unknown;
                /** @description A number of minutes. */
                duration?: unknown;
                /** @description Text. */
                timezone?: unknown;
                /** @description A list: the event is about one occurrence of a recurring meeting, and changes nothing. */
                occurrences?: unknown;
            };
        };
        DeauthorizationPayload: {
            account_id: string;
            user_id: string;
            /** Format: date-time */
            deauthorization_time: string;
        };
        ValidationPayload: {
            plainToken: string;
        };
        EventOutcome: {
            /**
             * @description `applied` to a session; `deauthorized`: a connection is gone; `duplicate`: seen before; `kept` until a creation that is
             *     on its way can tell whose meeting it is; `ignored`: nothing of ours.
             * @enum {unknown}
             */
            outcome: "applied" | "deauthorized" | "duplicate" | "kept" | "ignored";
        };
        UrlValidation: {
            plainToken: string;
            encryptedToken: string;
        };
        OwnSyncCounts: {
            /** @description Told to Zoom, or nothing left to tell. */
            sent: components["schemas"]["Count"];
            /** @description What Zoom has not confirmed yet, creations with an unknown outcome included. */
            waiting: components["schemas"]["Count"];
        };
        SyncCounts: {
            /** @description Changes on their way to Zoom. */
            outbox: {
                /** @description Told to Zoom, or nothing left to tell. */
                sent: components["schemas"]["Count"];
                /** @description To be tried again later. */
                postponed: components["schemas"]["Count"];
            };
            /** @description Creations whose outcome was unknown. */
            creations: {
                /** @description Meetings that became sessions. */
                adopted: components["schemas"]["Count"];
                /** @description Meetings that were deleted, their time being over, or will be, their host's account being gone. */
                deleted: components["schemas"]["Count"];
                /** @description Creations that had come to nothing. */
                failed: components["schemas"]["Count"];
                /** @description Creations that stay open. */
                postponed: components["schemas"]["Count"];
            };
            /** @description Connections that were left. */
            revocations: {
                forgotten: components["schemas"]["Count"];
            };
            /** @description Connections that were due. */
            connections: {
                refreshed: components["schemas"]["Count"];
                expired: components["schemas"]["Count"];
                failed: components["schemas"]["Count"];
                remaining: components["schemas"]["Count"];
            };
            /** @description What had run out. */
            purged: {
                start_urls: components["schemas"]["Count"];
                /** @description Sessions that time has changed. */
                sessions: components["schemas"]["Count"];
            };
            /** @description What Zoom was asked, since no event has said it. */
            watch: {
                /** @description Meetings that Zoom answered about. */
                asked: components["schemas"]["Count"];
                /** @description Hosts whose list of meetings was looked through. */
                lists: components["schemas"]["Count"];
                /** @description Sessions that were missing from such a list, and are asked about. */
                missing: components["schemas"]["Count"];
                /** @description What Zoom could not be asked now. */
                postponed: components["schemas"]["Count"];
            };
        };
    };
    responses: {
        /** @description What browsers may send. */
        Preflight: {
            headers: {
                "Access-Control-Allow-Methods": "POST, OPTIONS" | "GET, OPTIONS";
                "Access-Control-Allow-Headers": string;
                "Access-Control-Max-Age": "86400";
                "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                "X-Request-Id": components["headers"]["RequestId"];
                [name: string]: unknown;
            };
            content?: never;
        };
        /**
         * @description `invalid_json`: the body is not a JSON object. `invalid_request`: `fields` says, for each value that cannot be used, why;
         *     also for fields that do not exist, and for the header `Idempotency-Key`.
         */
        BadBody: {
            headers: {
                "X-Request-Id": components["headers"]["RequestId"];
                "Server-Timing": components["headers"]["ServerTiming"];
                "Cache-Control": components["headers"]["CacheControl"];
                "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                Vary: components["headers"]["Vary"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["Error"] & {
                    /** @enum {unknown} */
                    code?: "invalid_json" | "invalid_request";
                };
            };
        };
        /**
         * @description `unauthorized`: no token, or one that this project did not give to a user. `token_expired`: refresh the token and try
         *     again.
         */
        NoUser: {
            headers: {
                "X-Request-Id": components["headers"]["RequestId"];
                "Server-Timing": components["headers"]["ServerTiming"];
                "Cache-Control": components["headers"]["CacheControl"];
                "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                Vary: components["headers"]["Vary"];
                [name: string]: unknown;
            };
            content: {
                /**
                 * @example {
                 *       "error": "Your sign-in has expired. Refresh it and try again.",
                 *       "code": "token_expired",
                 *       "request_id": "5e2c9d60-6c1f-4f0e-9c7d-0d7c1d3f2a10"
                 *     }
                 */
                "application/json": components["schemas"]["Error"] & {
                    /** @enum {unknown} */
                    code?: "unauthorized" | "token_expired";
                };
            };
        };
        /** @description `method_not_allowed`, to any other method. */
        PostOnly: {
            headers: {
                Allow: "POST, OPTIONS";
                "X-Request-Id": components["headers"]["RequestId"];
                "Server-Timing": components["headers"]["ServerTiming"];
                "Cache-Control": components["headers"]["CacheControl"];
                "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["Error"] & {
                    /** @constant */
                    code?: "method_not_allowed";
                };
            };
        };
        /** @description `method_not_allowed`, to any other method. */
        GetOnly: {
            headers: {
                Allow: "GET, OPTIONS";
                "X-Request-Id": components["headers"]["RequestId"];
                "Server-Timing": components["headers"]["ServerTiming"];
                "Cache-Control": components["headers"]["CacheControl"];
                "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["Error"] & {
                    /** @constant */
                    code?: "method_not_allowed";
                };
            };
        };
        /** @description `payload_too_large`: the body has more than 64 KiB. */
        TooLarge: {
            headers: {
                "X-Request-Id": components["headers"]["RequestId"];
                "Server-Timing": components["headers"]["ServerTiming"];
                "Cache-Control": components["headers"]["CacheControl"];
                "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                Vary: components["headers"]["Vary"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["Error"] & {
                    /** @constant */
                    code?: "payload_too_large";
                };
            };
        };
        /** @description `unsupported_media_type`: `Content-Type` is not `application/json`. */
        NotJson: {
            headers: {
                "X-Request-Id": components["headers"]["RequestId"];
                "Server-Timing": components["headers"]["ServerTiming"];
                "Cache-Control": components["headers"]["CacheControl"];
                "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                Vary: components["headers"]["Vary"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["Error"] & {
                    /** @constant */
                    code?: "unsupported_media_type";
                };
            };
        };
        /** @description `zoom_daily_limit`: Zoom allows 100 created and changed meetings a host and day; they are back at 00:00 UTC. */
        DailyLimit: {
            headers: {
                "Retry-After": components["headers"]["RetryAfter"];
                "X-Request-Id": components["headers"]["RequestId"];
                "Server-Timing": components["headers"]["ServerTiming"];
                "Cache-Control": components["headers"]["CacheControl"];
                "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                Vary: components["headers"]["Vary"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["Error"] & {
                    /** @constant */
                    code?: "zoom_daily_limit";
                };
            };
        };
        /** @description `zoom_rejected`: Zoom refused in a way that the caller cannot mend. */
        Rejected: {
            headers: {
                "X-Request-Id": components["headers"]["RequestId"];
                "Server-Timing": components["headers"]["ServerTiming"];
                "Cache-Control": components["headers"]["CacheControl"];
                "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                Vary: components["headers"]["Vary"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["Error"] & {
                    /** @constant */
                    code?: "zoom_rejected";
                };
            };
        };
        /**
         * @description `misconfigured`: the function's configuration is not complete, or Zoom refuses the app's credentials. `internal`: a fault
         *     on our side. The log says more.
         */
        Fault: {
            headers: {
                "X-Request-Id": components["headers"]["RequestId"];
                "Server-Timing": components["headers"]["ServerTimingOfAFault"];
                "Cache-Control": components["headers"]["CacheControl"];
                "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                Vary: components["headers"]["Vary"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["Error"] & {
                    /** @enum {unknown} */
                    code?: "misconfigured" | "internal";
                };
            };
        };
        /** @description `service_unavailable`: the database or the auth server did not answer. */
        Unavailable: {
            headers: {
                "Retry-After": components["headers"]["RetryAfter"];
                "X-Request-Id": components["headers"]["RequestId"];
                "Server-Timing": components["headers"]["ServerTiming"];
                "Cache-Control": components["headers"]["CacheControl"];
                "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                Vary: components["headers"]["Vary"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["Error"] & {
                    /** @constant */
                    code?: "service_unavailable";
                };
            };
        };
    };
    parameters: never;
    requestBodies: never;
    headers: {
        /** @description This request's id, as in the log and in an error's `request_id`. */
        RequestId: string;
        /** @description Milliseconds spent waiting for the auth server, the database and Zoom. */
        ServerTiming: string;
        /** @description As elsewhere; absent where the function crashed. */
        ServerTimingOfAFault: string;
        CacheControl: "no-store";
        ContentTypeOptions: "nosniff";
        /** @description `*`, or the caller's origin if it is one of `ALLOWED_ORIGINS`; else absent. */
        AllowOrigin: string;
        /** @description Absent where the function crashed. */
        ExposeHeaders: "x-request-id, server-timing, retry-after";
        /** @description `origin`, where `ALLOWED_ORIGINS` is a list. */
        Vary: string;
        /** @description Seconds after which it is worth trying again. */
        RetryAfter: number;
        ContentSecurityPolicy: string;
        ReferrerPolicy: "no-referrer";
        FrameOptions: "DENY";
        StrictTransportSecurity: "max-age=31536000; includeSubDomains";
    };
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    startZoomConnection: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The address. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    "Server-Timing": components["headers"]["ServerTiming"];
                    "Cache-Control": components["headers"]["CacheControl"];
                    "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                    "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                    "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                    Vary: components["headers"]["Vary"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_url": "https://zoom.us/oauth/authorize?response_type=code&client_id=abc&redirect_uri=https%3A%2F%2Fproject-ref.supabase.co%2Ffunctions%2Fv1%2Fzoom-oauth-callback&state=Zr0s2k8mCqV5w1yB4hNf7tJd9xLg3pAeUi6oRuTbKcY&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256",
                     *       "expires_at": "2027-03-01T17:10:00.123456+00:00"
                     *     }
                     */
                    "application/json": components["schemas"]["ConnectionStart"];
                };
            };
            401: components["responses"]["NoUser"];
            /** @description `not_a_host`: the user may not host sessions. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    "Server-Timing": components["headers"]["ServerTiming"];
                    "Cache-Control": components["headers"]["CacheControl"];
                    "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                    "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                    "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                    Vary: components["headers"]["Vary"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "error": "Only trainers and nutritionists can do this.",
                     *       "code": "not_a_host",
                     *       "request_id": "5e2c9d60-6c1f-4f0e-9c7d-0d7c1d3f2a10"
                     *     }
                     */
                    "application/json": components["schemas"]["Error"] & {
                        /** @constant */
                        code?: "not_a_host";
                    };
                };
            };
            405: components["responses"]["PostOnly"];
            /** @description `quota_reached`: more consent pages within an hour than anybody needs. */
            429: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    "Server-Timing": components["headers"]["ServerTiming"];
                    "Cache-Control": components["headers"]["CacheControl"];
                    "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                    "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                    "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                    Vary: components["headers"]["Vary"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"] & {
                        /** @constant */
                        code?: "quota_reached";
                    };
                };
            };
            500: components["responses"]["Fault"];
            503: components["responses"]["Unavailable"];
        };
    };
    finishZoomConnection: {
        parameters: {
            query: {
                /**
                 * @description As it stood in the `auth_url`.
                 * @example Zr0s2k8mCqV5w1yB4hNf7tJd9xLg3pAeUi6oRuTbKcY
                 */
                state: string;
                /** @description Zoom's authorization code. Without it and without `error`, the outcome is `invalid_state`. */
                code?: string;
                /**
                 * @description What Zoom says in place of a code. `access_denied` is the host's no; anything else is `token_exchange_failed`.
                 * @example access_denied
                 */
                error?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Allowed. The page leads to `APP_REDIRECT_URI?success=1&handle=…`. */
            200: {
                headers: {
                    "Content-Security-Policy": components["headers"]["ContentSecurityPolicy"];
                    "Referrer-Policy": components["headers"]["ReferrerPolicy"];
                    "X-Frame-Options": components["headers"]["FrameOptions"];
                    "Strict-Transport-Security": components["headers"]["StrictTransportSecurity"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    "Server-Timing": components["headers"]["ServerTiming"];
                    "Cache-Control": components["headers"]["CacheControl"];
                    "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                    "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                    "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                    Vary: components["headers"]["Vary"];
                    [name: string]: unknown;
                };
                content: {
                    "text/html; charset=utf-8": string;
                };
            };
            /** @description The way back to the app, whatever the outcome. No body. */
            302: {
                headers: {
                    /** @description `APP_REDIRECT_URI` with `success=1&handle=…` or `error=<code>` added to its query. */
                    Location: string;
                    "X-Request-Id": components["headers"]["RequestId"];
                    "Server-Timing": components["headers"]["ServerTiming"];
                    "Cache-Control": components["headers"]["CacheControl"];
                    "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                    "Content-Security-Policy": components["headers"]["ContentSecurityPolicy"];
                    "Referrer-Policy": components["headers"]["ReferrerPolicy"];
                    "X-Frame-Options": components["headers"]["FrameOptions"];
                    "Strict-Transport-Security": components["headers"]["StrictTransportSecurity"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description A page: `access_denied`, `invalid_state`, `state_expired` or `missing_scope`. */
            400: {
                headers: {
                    "Content-Security-Policy": components["headers"]["ContentSecurityPolicy"];
                    "Referrer-Policy": components["headers"]["ReferrerPolicy"];
                    "X-Frame-Options": components["headers"]["FrameOptions"];
                    "Strict-Transport-Security": components["headers"]["StrictTransportSecurity"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    "Server-Timing": components["headers"]["ServerTiming"];
                    "Cache-Control": components["headers"]["CacheControl"];
                    "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                    "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                    "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                    Vary: components["headers"]["Vary"];
                    [name: string]: unknown;
                };
                content: {
                    "text/html; charset=utf-8": string;
                };
            };
            405: components["responses"]["GetOnly"];
            /** @description A page: `server_error`. As JSON, where there is no way back to the app: `misconfigured`, `internal`. */
            500: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    "Server-Timing": components["headers"]["ServerTimingOfAFault"];
                    "Cache-Control": components["headers"]["CacheControl"];
                    "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                    [name: string]: unknown;
                };
                content: {
                    "text/html; charset=utf-8": string;
                    "application/json": components["schemas"]["Error"] & {
                        /** @enum {unknown} */
                        code?: "misconfigured" | "internal";
                    };
                };
            };
            /** @description A page: `token_exchange_failed`. */
            502: {
                headers: {
                    "Content-Security-Policy": components["headers"]["ContentSecurityPolicy"];
                    "Referrer-Policy": components["headers"]["ReferrerPolicy"];
                    "X-Frame-Options": components["headers"]["FrameOptions"];
                    "Strict-Transport-Security": components["headers"]["StrictTransportSecurity"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    "Server-Timing": components["headers"]["ServerTiming"];
                    "Cache-Control": components["headers"]["CacheControl"];
                    "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                    "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                    "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                    Vary: components["headers"]["Vary"];
                    [name: string]: unknown;
                };
                content: {
                    "text/html; charset=utf-8": string;
                };
            };
            /** @description A page: `zoom_unavailable`. */
            503: {
                headers: {
                    "Content-Security-Policy": components["headers"]["ContentSecurityPolicy"];
                    "Referrer-Policy": components["headers"]["ReferrerPolicy"];
                    "X-Frame-Options": components["headers"]["FrameOptions"];
                    "Strict-Transport-Security": components["headers"]["StrictTransportSecurity"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    "Server-Timing": components["headers"]["ServerTiming"];
                    "Cache-Control": components["headers"]["CacheControl"];
                    "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                    "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                    "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                    Vary: components["headers"]["Vary"];
                    [name: string]: unknown;
                };
                content: {
                    "text/html; charset=utf-8": string;
                };
            };
        };
    };
    disconnectZoom: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description There is no connection any more. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    "Server-Timing": components["headers"]["ServerTiming"];
                    "Cache-Control": components["headers"]["CacheControl"];
                    "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                    "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                    "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                    Vary: components["headers"]["Vary"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "state": "not_connected",
                     *       "left_at_zoom": {
                     *         "changes": 0,
                     *         "deletions": 0,
                     *         "creations": 0
                     *       }
                     *     }
                     */
                    "application/json": components["schemas"]["Disconnected"];
                };
            };
            401: components["responses"]["NoUser"];
            405: components["responses"]["PostOnly"];
            500: components["responses"]["Fault"];
            503: components["responses"]["Unavailable"];
        };
    };
    refreshToken: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The own connection, or what the run did. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    "Server-Timing": components["headers"]["ServerTiming"];
                    "Cache-Control": components["headers"]["CacheControl"];
                    "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                    "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                    "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                    Vary: components["headers"]["Vary"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Connection"] | components["schemas"]["RefreshCounts"];
                };
            };
            401: components["responses"]["NoUser"];
            405: components["responses"]["PostOnly"];
            500: components["responses"]["Fault"];
            /**
             * @description `zoom_unavailable`: Zoom's token endpoint fails; to a user only. `service_unavailable`: the database or the auth
             *     server did not answer.
             */
            503: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    "Server-Timing": components["headers"]["ServerTiming"];
                    "Cache-Control": components["headers"]["CacheControl"];
                    "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                    "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                    "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                    Vary: components["headers"]["Vary"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"] & {
                        /** @enum {unknown} */
                        code?: "zoom_unavailable" | "service_unavailable";
                    };
                };
            };
        };
    };
    createSession: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description Any text that is new for each session, such as a UUID.
                 * @example 0f0c1ab2-8ac1-4f0c-9f3a-8f6b2b6f3d55
                 */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewSession"];
            };
        };
        responses: {
            /** @description The session. To a repeated request, as it stands now. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    "Server-Timing": components["headers"]["ServerTiming"];
                    "Cache-Control": components["headers"]["CacheControl"];
                    "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                    "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                    "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                    Vary: components["headers"]["Vary"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "id": "0d3d7a48-1f3a-4c52-8a7f-3e6d8b0c9a11",
                     *       "host_id": "5b2d6c66-5f0a-4c0e-9f4e-3a3f6f2f8a01",
                     *       "provider": "zoom",
                     *       "title": "First check-in",
                     *       "description": "",
                     *       "scheduled_start": "2027-03-01T16:00:00+00:00",
                     *       "timezone": "Europe/Berlin",
                     *       "duration_minutes": 45,
                     *       "max_participants": 2,
                     *       "status": "scheduled",
                     *       "started_at": null,
                     *       "ended_at": null,
                     *       "join_url": "https://us05web.zoom.us/j/85746065432?pwd=abc",
                     *       "provider_meeting_id": "85746065432",
                     *       "passcode": "123456",
                     *       "settings": {
                     *         "waiting_room": true,
                     *         "join_before_host": false,
                     *         "mute_upon_entry": true,
                     *         "host_video": false,
                     *         "participant_video": false
                     *       },
                     *       "share_code": "7K2M9QX4TRV8",
                     *       "invite_url": "https://app.example/join#share_code=7K2M9QX4TRV8",
                     *       "created_at": "2027-02-20T09:30:00.123456+00:00",
                     *       "updated_at": "2027-02-20T09:30:00.123456+00:00"
                     *     }
                     */
                    "application/json": components["schemas"]["Session"];
                };
            };
            400: components["responses"]["BadBody"];
            401: components["responses"]["NoUser"];
            /**
             * @description - `not_a_host`: the user may not host sessions.
             *     - `zoom_not_connected`: no Zoom account is connected.
             *     - `zoom_expired`: the connection has ended; connect again.
             *     - `missing_scope`: the connection lacks a permission; connect again and allow all.
             *     - `zoom_cannot_host`: this Zoom user may not host meetings.
             */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    "Server-Timing": components["headers"]["ServerTiming"];
                    "Cache-Control": components["headers"]["CacheControl"];
                    "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                    "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                    "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                    Vary: components["headers"]["Vary"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "error": "Connect Zoom first, then try again.",
                     *       "code": "zoom_not_connected",
                     *       "request_id": "5e2c9d60-6c1f-4f0e-9c7d-0d7c1d3f2a10"
                     *     }
                     */
                    "application/json": components["schemas"]["Error"] & {
                        /** @enum {unknown} */
                        code?: "not_a_host" | "zoom_not_connected" | "zoom_expired" | "missing_scope" | "zoom_cannot_host";
                    };
                };
            };
            405: components["responses"]["PostOnly"];
            /** @description `creation_running`: the creation with this key is on its way, or is being settled. Repeat the request. */
            409: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    "Server-Timing": components["headers"]["ServerTiming"];
                    "Cache-Control": components["headers"]["CacheControl"];
                    "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                    "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                    "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                    Vary: components["headers"]["Vary"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"] & {
                        /** @constant */
                        code?: "creation_running";
                    };
                };
            };
            /** @description `session_gone`: the session that this key made has been deleted. */
            410: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    "Server-Timing": components["headers"]["ServerTiming"];
                    "Cache-Control": components["headers"]["CacheControl"];
                    "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                    "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                    "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                    Vary: components["headers"]["Vary"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"] & {
                        /** @constant */
                        code?: "session_gone";
                    };
                };
            };
            413: components["responses"]["TooLarge"];
            415: components["responses"]["NotJson"];
            /** @description `idempotency_key_reused`: this key came with other values before. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    "Server-Timing": components["headers"]["ServerTiming"];
                    "Cache-Control": components["headers"]["CacheControl"];
                    "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                    "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                    "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                    Vary: components["headers"]["Vary"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"] & {
                        /** @constant */
                        code?: "idempotency_key_reused";
                    };
                };
            };
            /**
             * @description - `zoom_daily_limit`: Zoom allows 100 created and changed meetings a host and day; they are back at 00:00 UTC.
             *     - `quota_reached`: more sessions to come, or created within an hour, than anybody needs.
             */
            429: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    "Server-Timing": components["headers"]["ServerTiming"];
                    "Cache-Control": components["headers"]["CacheControl"];
                    "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                    "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                    "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                    Vary: components["headers"]["Vary"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"] & {
                        /** @enum {unknown} */
                        code?: "zoom_daily_limit" | "quota_reached";
                    };
                };
            };
            500: components["responses"]["Fault"];
            502: components["responses"]["Rejected"];
            /**
             * @description - `zoom_rate_limited`: the host's Zoom account has too many requests at once.
             *     - `zoom_unavailable`: Zoom did not do it.
             *     - `zoom_outcome_unknown`: Zoom may have done it, or, for an external session, the database. With an `Idempotency-Key`,
             *       repeat the request to learn it.
             *     - `service_unavailable`: the database or the auth server did not answer.
             */
            503: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    "Server-Timing": components["headers"]["ServerTiming"];
                    "Cache-Control": components["headers"]["CacheControl"];
                    "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                    "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                    "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                    Vary: components["headers"]["Vary"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "error": "The session is not confirmed yet and may still appear: look at your sessions in a minute before you try again.",
                     *       "code": "zoom_outcome_unknown",
                     *       "request_id": "5e2c9d60-6c1f-4f0e-9c7d-0d7c1d3f2a10"
                     *     }
                     */
                    "application/json": components["schemas"]["Error"] & {
                        /** @enum {unknown} */
                        code?: "zoom_rate_limited" | "zoom_unavailable" | "zoom_outcome_unknown" | "service_unavailable";
                    };
                };
            };
        };
    };
    startSession: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "session_id": "0d3d7a48-1f3a-4c52-8a7f-3e6d8b0c9a11"
                 *     }
                 */
                "application/json": components["schemas"]["SessionStart"];
            };
        };
        responses: {
            /** @description The link. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    "Server-Timing": components["headers"]["ServerTiming"];
                    "Cache-Control": components["headers"]["CacheControl"];
                    "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                    "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                    "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                    Vary: components["headers"]["Vary"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "host_start_url": "https://us05web.zoom.us/s/85746065432?zak=eyJ0eXAi",
                     *       "expires_at": "2027-03-01T17:59:00.123456+00:00"
                     *     }
                     */
                    "application/json": components["schemas"]["StartUrl"];
                };
            };
            400: components["responses"]["BadBody"];
            401: components["responses"]["NoUser"];
            /**
             * @description - `not_the_host`: the caller takes part in this session, but does not host it.
             *     - `not_a_host`: the caller may not host any more.
             *     - `zoom_not_connected`: no Zoom account is connected.
             *     - `zoom_expired`: the connection has ended; connect again.
             *     - `zoom_other_account`: the session was created with another Zoom account than the connected one.
             *     - `missing_scope`: the connection lacks a permission; connect again and allow all.
             *     - `zoom_cannot_host`: this Zoom user may not host meetings.
             */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    "Server-Timing": components["headers"]["ServerTiming"];
                    "Cache-Control": components["headers"]["CacheControl"];
                    "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                    "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                    "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                    Vary: components["headers"]["Vary"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"] & {
                        /** @enum {unknown} */
                        code?: "not_the_host" | "not_a_host" | "zoom_not_connected" | "zoom_expired" | "zoom_other_account" | "missing_scope" | "zoom_cannot_host";
                    };
                };
            };
            /** @description `session_not_found`: the caller has no such session. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    "Server-Timing": components["headers"]["ServerTiming"];
                    "Cache-Control": components["headers"]["CacheControl"];
                    "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                    "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                    "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                    Vary: components["headers"]["Vary"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"] & {
                        /** @constant */
                        code?: "session_not_found";
                    };
                };
            };
            405: components["responses"]["PostOnly"];
            /** @description `session_ended`: it is over. `session_gone`: it was cancelled, or its meeting was deleted in Zoom. */
            410: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    "Server-Timing": components["headers"]["ServerTiming"];
                    "Cache-Control": components["headers"]["CacheControl"];
                    "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                    "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                    "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                    Vary: components["headers"]["Vary"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"] & {
                        /** @enum {unknown} */
                        code?: "session_ended" | "session_gone";
                    };
                };
            };
            413: components["responses"]["TooLarge"];
            415: components["responses"]["NotJson"];
            429: components["responses"]["DailyLimit"];
            500: components["responses"]["Fault"];
            502: components["responses"]["Rejected"];
            /**
             * @description - `zoom_rate_limited`: the host's Zoom account has too many requests at once.
             *     - `zoom_unavailable`: Zoom could not be understood.
             *     - `service_unavailable`: the database or the auth server did not answer.
             */
            503: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    "Server-Timing": components["headers"]["ServerTiming"];
                    "Cache-Control": components["headers"]["CacheControl"];
                    "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                    "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                    "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                    Vary: components["headers"]["Vary"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"] & {
                        /** @enum {unknown} */
                        code?: "zoom_rate_limited" | "zoom_unavailable" | "service_unavailable";
                    };
                };
            };
        };
    };
    joinSession: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Invitation"];
            };
        };
        responses: {
            /** @description The session as its participants see it; or what the code is to. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    "Server-Timing": components["headers"]["ServerTiming"];
                    "Cache-Control": components["headers"]["CacheControl"];
                    "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                    "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                    "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                    Vary: components["headers"]["Vary"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "title": "First check-in",
                     *       "host_name": "Ada",
                     *       "scheduled_start": "2027-03-01T16:00:00+00:00",
                     *       "timezone": "Europe/Berlin",
                     *       "duration_minutes": 45,
                     *       "seats_left": 1,
                     *       "joined": false
                     *     }
                     */
                    "application/json": components["schemas"]["JoinedSession"] | components["schemas"]["SessionPreview"];
                };
            };
            400: components["responses"]["BadBody"];
            401: components["responses"]["NoUser"];
            /** @description `anonymous_not_allowed`: the caller signed in anonymously, and `ALLOW_ANONYMOUS_PARTICIPANTS` is not set. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    "Server-Timing": components["headers"]["ServerTiming"];
                    "Cache-Control": components["headers"]["CacheControl"];
                    "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                    "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                    "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                    Vary: components["headers"]["Vary"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"] & {
                        /** @constant */
                        code?: "anonymous_not_allowed";
                    };
                };
            };
            /** @description `session_not_joinable`: the code leads nowhere, or to a session that the caller cannot join. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    "Server-Timing": components["headers"]["ServerTiming"];
                    "Cache-Control": components["headers"]["CacheControl"];
                    "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                    "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                    "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                    Vary: components["headers"]["Vary"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"] & {
                        /** @constant */
                        code?: "session_not_joinable";
                    };
                };
            };
            405: components["responses"]["PostOnly"];
            413: components["responses"]["TooLarge"];
            415: components["responses"]["NotJson"];
            /** @description `too_many_attempts`: ten codes in ten minutes led nowhere. */
            429: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    "Server-Timing": components["headers"]["ServerTiming"];
                    "Cache-Control": components["headers"]["CacheControl"];
                    "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                    "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                    "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                    Vary: components["headers"]["Vary"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"] & {
                        /** @constant */
                        code?: "too_many_attempts";
                    };
                };
            };
            500: components["responses"]["Fault"];
            503: components["responses"]["Unavailable"];
        };
    };
    receiveZoomEvent: {
        parameters: {
            query?: never;
            header: {
                /**
                 * @description When Zoom signed it, in seconds since 1970.
                 * @example 1803916800
                 */
                "x-zm-request-timestamp": string;
            };
            path?: never;
            cookie?: never;
        };
        /** @description As Zoom sends it. Fields beyond these are ignored, but signed. The signature is over the bytes as they came. */
        requestBody: {
            content: {
                "application/json": components["schemas"]["ZoomEvent"];
            };
        };
        responses: {
            /** @description Dealt with, or the answer to Zoom's check of the address. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    "Server-Timing": components["headers"]["ServerTiming"];
                    "Cache-Control": components["headers"]["CacheControl"];
                    "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                    "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                    "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                    Vary: components["headers"]["Vary"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EventOutcome"] | components["schemas"]["UrlValidation"];
                };
            };
            /** @description `invalid_json`: signed, but no event, or one that lacks what an event of its name has. */
            400: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    "Server-Timing": components["headers"]["ServerTiming"];
                    "Cache-Control": components["headers"]["CacheControl"];
                    "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                    "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                    "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                    Vary: components["headers"]["Vary"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"] & {
                        /** @constant */
                        code?: "invalid_json";
                    };
                };
            };
            /** @description `unauthorized`: not signed by Zoom, or too long ago. */
            401: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    "Server-Timing": components["headers"]["ServerTiming"];
                    "Cache-Control": components["headers"]["CacheControl"];
                    "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                    "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                    "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                    Vary: components["headers"]["Vary"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"] & {
                        /** @constant */
                        code?: "unauthorized";
                    };
                };
            };
            405: components["responses"]["PostOnly"];
            413: components["responses"]["TooLarge"];
            500: components["responses"]["Fault"];
            503: components["responses"]["Unavailable"];
        };
    };
    synchronize: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description What the run did, by count. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    "Server-Timing": components["headers"]["ServerTiming"];
                    "Cache-Control": components["headers"]["CacheControl"];
                    "X-Content-Type-Options": components["headers"]["ContentTypeOptions"];
                    "Access-Control-Allow-Origin": components["headers"]["AllowOrigin"];
                    "Access-Control-Expose-Headers": components["headers"]["ExposeHeaders"];
                    Vary: components["headers"]["Vary"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OwnSyncCounts"] | components["schemas"]["SyncCounts"];
                };
            };
            401: components["responses"]["NoUser"];
            405: components["responses"]["PostOnly"];
            500: components["responses"]["Fault"];
            503: components["responses"]["Unavailable"];
        };
    };
}
