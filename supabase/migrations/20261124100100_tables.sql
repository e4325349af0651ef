-- The data model. Who may do what with it stands in the next migration.

-- What no client role reaches: PostgREST does not serve this schema, and nobody is granted its use.
create schema if not exists private;
revoke all on schema private from public;

-- The IANA time zones that this server knows. Checking a name against pg_timezone_names reads hundreds of files.
create table private.time_zones (name text primary key);

insert into private.time_zones (name)
select name from pg_catalog.pg_timezone_names
where name = 'UTC' or (name like '%/%' and name !~ '^(posix|right|Etc|SystemV)/');

-- 60 random bits as twelve characters that are hard to mistake for one another (Crockford's base 32). gen_random_uuid()
-- draws on the server's strong source of randomness; the bits taken here are not among its fixed ones.
create function private.new_share_code() returns text
language sql volatile set search_path = ''
as $$
  select string_agg(substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', (get_byte(random.bytes, n) & 31) + 1, 1), '')
  from (select decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex') as bytes) as random,
    unnest(array[0, 1, 2, 3, 4, 5, 16, 17, 18, 19, 20, 21]) as n
$$;

create table public.video_sessions (
  id uuid primary key default gen_random_uuid(),
  host_id uuid not null default auth.uid() references auth.users (id) on delete cascade,
  provider text not null check (provider in ('zoom', 'external')),
  title text not null check (char_length(btrim(title)) between 1 and 200 and char_length(title) <= 200 and title !~ '[[:cntrl:]]'),
  description text not null default '' check (char_length(description) <= 2000),
  scheduled_start timestamptz not null,
  timezone text not null default 'UTC' references private.time_zones (name),
  -- The app chooses 30, 45 or 60 (a trigger sees to that); a host can set any length in Zoom itself.
  duration_minutes integer not null check (duration_minutes between 1 and 1440),
  max_participants integer not null check (max_participants between 2 and 5),
  status text not null default 'scheduled' check (status in ('scheduled', 'ended', 'cancelled')),
  started_at timestamptz,
  ended_at timestamptz,
  join_url text not null check (join_url ~ '^https?://[^\s/]+' and char_length(join_url) <= 2000),
  provider_meeting_id text unique,
  passcode text,
  share_code text not null unique default private.new_share_code(),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  check ((provider = 'zoom') = (provider_meeting_id is not null))
);
create index video_sessions_host_id_scheduled_start_idx on public.video_sessions (host_id, scheduled_start);

comment on table public.video_sessions is 'Sessions. Ongoing: scheduled, started_at set, ended_at null. Never holds a start URL.';
comment on column public.video_sessions.max_participants is 'The host counts as one.';
comment on column public.video_sessions.provider_meeting_id is 'Zoom''s meeting number, as text: it may pass 2^53.';
comment on column public.video_sessions.share_code is 'Whoever knows it may join: 60 random bits.';

create table public.video_session_host_meta (
  session_id uuid primary key references public.video_sessions (id) on delete cascade,
  host_id uuid not null references auth.users (id) on delete cascade,
  host_start_url text not null,
  expires_at timestamptz not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index video_session_host_meta_host_id_idx on public.video_session_host_meta (host_id);
create index video_session_host_meta_expires_at_idx on public.video_session_host_meta (expires_at);

comment on table public.video_session_host_meta is 'Start URLs: whoever holds one is the host in Zoom, for two hours. For the host alone.';

create table public.video_session_participants (
  session_id uuid not null references public.video_sessions (id) on delete cascade,
  user_id uuid not null references auth.users (id) on delete cascade,
  role text not null default 'participant' check (role in ('host', 'participant')),
  created_at timestamptz not null default now(),
  primary key (session_id, user_id)
);
create index video_session_participants_user_id_idx on public.video_session_participants (user_id, session_id);
create unique index video_session_participants_one_host_idx on public.video_session_participants (session_id) where role = 'host';

-- A user's Zoom connection. It does not go with the user's account: the account's meetings have to be deleted at Zoom and
-- its tokens revoked first (see account_deleted_at).
create table public.user_integrations_zoom (
  user_id uuid primary key,
  zoom_user_id text not null,
  zoom_account_id text not null,
  zoom_account_email text not null,
  scope text not null,
  access_token text,
  refresh_token text,
  access_token_expires_at timestamptz not null,
  expires_at timestamptz not null,
  status text not null default 'connected' check (status in ('connected', 'expired')),
  expired_reason text,
  token_version bigint not null default 1,
  refreshed_at timestamptz not null default now(),
  used_at timestamptz not null default now(),
  lease_holder uuid,
  lease_until timestamptz,
  cooldown_until timestamptz,
  daily_limit_until timestamptz,
  account_deleted_at timestamptz,
  connected_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  check (status = 'expired' or (access_token is not null and refresh_token is not null)),
  check ((status = 'expired') = (expired_reason is not null)),
  -- Sealed by the functions, or not stored at all.
  check (access_token like 'v1.%' and refresh_token like 'v1.%')
);
create index user_integrations_zoom_zoom_user_id_idx on public.user_integrations_zoom (zoom_user_id, zoom_account_id);
create index user_integrations_zoom_refreshed_at_idx on public.user_integrations_zoom (refreshed_at) where status = 'connected';
create index user_integrations_zoom_access_token_expires_at_idx
  on public.user_integrations_zoom (access_token_expires_at) where status = 'connected';
create index user_integrations_zoom_expires_at_idx on public.user_integrations_zoom (expires_at) where status = 'connected';
create index user_integrations_zoom_account_deleted_at_idx
  on public.user_integrations_zoom (account_deleted_at) where account_deleted_at is not null;

comment on table public.user_integrations_zoom is 'Zoom connections. Tokens are sealed (AES-256-GCM) by the functions, and no client role is granted their columns.';
comment on column public.user_integrations_zoom.expires_at is 'When the connection lapses unless it is used: about 90 days after the last refresh.';
comment on column public.user_integrations_zoom.token_version is 'Counts every change of the tokens; new tokens are saved by compare-and-swap on it.';
comment on column public.user_integrations_zoom.lease_holder is 'The request that is refreshing, until lease_until.';
comment on column public.user_integrations_zoom.cooldown_until is 'Until then nobody asks Zoom''s token endpoint: it failed a moment ago.';
comment on column public.user_integrations_zoom.daily_limit_until is 'Zoom has refused more changes of meetings for the day: none is sent before this.';
comment on column public.user_integrations_zoom.used_at is 'When a function last took an access token to use it.';
comment on column public.user_integrations_zoom.account_deleted_at is 'The user is gone: zoom-sync deletes the meetings, revokes the tokens, removes this row.';

-- OAuth states on their way to Zoom's consent page and back: a hash, never the state itself.
create table private.zoom_oauth_states (
  state_hash text primary key,
  user_id uuid not null references auth.users (id) on delete cascade,
  sealed_verifier text not null,
  expires_at timestamptz not null,
  consumed_at timestamptz,
  result text,
  created_at timestamptz not null default now()
);
create index zoom_oauth_states_user_id_idx on private.zoom_oauth_states (user_id);
create index zoom_oauth_states_expires_at_idx on private.zoom_oauth_states (expires_at);

-- The idempotency ledger: one row for every creation of a Zoom session. Its id becomes the session's, and stands at the
-- start of the meeting's agenda, so that a meeting whose answer was lost can be found.
create table private.session_creations (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null,
  zoom_user_id text,
  idempotency_key text,
  request_hash text not null,
  request jsonb,
  state text not null default 'running' check (state in ('running', 'unknown', 'done', 'failed')),
  code text,
  checks integer not null default 0,
  next_check_at timestamptz not null,
  created_at timestamptz not null default now(),
  closed_at timestamptz,
  -- What was asked for is kept as long as it may still be needed, and no longer.
  check ((state in ('running', 'unknown')) = (request is not null)),
  check ((state in ('done', 'failed')) = (closed_at is not null))
);
-- A key is free again when nothing came of its creation.
create unique index session_creations_key_idx on private.session_creations (user_id, idempotency_key)
  where idempotency_key is not null and state <> 'failed';
create index session_creations_open_idx on private.session_creations (next_check_at) where state in ('running', 'unknown');
create index session_creations_closed_idx on private.session_creations (closed_at) where closed_at is not null;

comment on column private.session_creations.zoom_user_id is 'Who was connected: in whose meetings zoom-sync looks.';
comment on column private.session_creations.state is 'running: Zoom is being asked; unknown: its answer was lost; done: the session exists; failed: nothing came of it.';
comment on column private.session_creations.checks is 'How often zoom-sync has looked for the meeting.';

-- What Zoom is known to hold of a session's meeting: the difference to the session is what Zoom has to be told.
create table private.zoom_meetings (
  session_id uuid primary key references public.video_sessions (id) on delete cascade,
  zoom_user_id text,
  title text not null,
  description text not null,
  scheduled_start timestamptz not null,
  timezone text not null,
  duration_minutes integer not null,
  title_at timestamptz not null default '-infinity',
  scheduled_start_at timestamptz not null default '-infinity',
  timezone_at timestamptz not null default '-infinity',
  duration_minutes_at timestamptz not null default '-infinity',
  deleted_at timestamptz,
  ended_at timestamptz
);

comment on table private.zoom_meetings is 'What Zoom holds. The columns *_at say as of when: an older event changes nothing.';

-- Changes on their way to Zoom: one row a meeting at most, however often the app changes its session.
create table private.zoom_outbox (
  id bigint generated always as identity primary key,
  meeting_id text not null unique,
  session_id uuid not null,
  user_id uuid not null,
  zoom_user_id text,
  kind text not null check (kind in ('update', 'delete')),
  revision bigint not null default 1,
  attempts integer not null default 0,
  last_code text,
  next_attempt_at timestamptz not null default now(),
  claimed_by uuid,
  claimed_until timestamptz,
  claimed_at timestamptz,
  claimed_revision bigint,
  claimed_desired jsonb,
  dead_at timestamptz,
  created_at timestamptz not null default now()
);
create index zoom_outbox_due_idx on private.zoom_outbox (next_attempt_at) where dead_at is null;
create index zoom_outbox_user_id_idx on private.zoom_outbox (user_id);
create index zoom_outbox_session_id_idx on private.zoom_outbox (session_id);

comment on column private.zoom_outbox.revision is 'Counts the changes: one that came while an earlier was being sent is sent next.';
comment on column private.zoom_outbox.claimed_desired is 'What was sent last, until it is known that Zoom holds it.';
comment on column private.zoom_outbox.dead_at is 'Given up after 12 tries; see outbox_dead_letters() and outbox_retry().';

-- The tokens of connections that were ended, until they are revoked at Zoom: out of everybody else's reach.
create table private.zoom_departures (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null,
  zoom_user_id text not null,
  access_token text not null check (access_token like 'v1.%'),
  refresh_token text not null check (refresh_token like 'v1.%'),
  access_token_expires_at timestamptz not null,
  claimed_until timestamptz not null,
  created_at timestamptz not null default now()
);
create index zoom_departures_claimed_until_idx on private.zoom_departures (claimed_until);

-- Zoom's events, each once. `details` is kept only while a creation is open that the event may belong to.
create table private.webhook_events (
  event_id text primary key,
  event text not null,
  event_ts timestamptz not null,
  meeting_id text,
  details jsonb,
  received_at timestamptz not null default now()
);
create index webhook_events_received_at_idx on private.webhook_events (received_at);
create index webhook_events_unmatched_idx on private.webhook_events (meeting_id) where details is not null;

-- Wrong share codes, counted by user, to slow down who guesses.
create table private.share_code_misses (
  user_id uuid primary key references auth.users (id) on delete cascade,
  misses integer not null,
  window_started_at timestamptz not null
);
create index share_code_misses_window_started_at_idx on private.share_code_misses (window_started_at);
