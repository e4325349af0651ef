-- Starting a session: start URLs, which make whoever holds one the host in Zoom.

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
comment on table public.video_session_host_meta is
  'Start URLs: whoever holds one is the host in Zoom, for two hours. For the host alone.';
create trigger touch before update on public.video_session_host_meta for each row
execute function video_sessions_private.touch();

-- Start URLs go with the connection, however it ends.
create function video_sessions_private.connection_ended() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  if tg_op = 'DELETE' or new.status <> 'connected' or new.zoom_user_id <> old.zoom_user_id then
    delete from public.video_session_host_meta where host_id = old.user_id;
  end if;
  return null;
end
$$;
create trigger connection_ended after update of status, zoom_user_id or delete on public.user_integrations_zoom
for each row execute function video_sessions_private.connection_ended();

-- Stores a start URL, while the host is connected as the Zoom user that made the meeting: the lock on the connection
-- keeps it from ending meanwhile. It is good for two hours from when Zoom made it, a moment ago. Null: nothing was
-- stored.
create function video_sessions_private.store_start_url(target uuid, host uuid, url text) returns timestamptz
language plpgsql security definer set search_path = ''
as $$
declare
  good_until constant timestamptz := now() + interval '119 minutes';
begin
  perform from public.user_integrations_zoom
  where user_id = host and status = 'connected' and zoom_user_id = coalesce(
    (select zoom_user_id from video_sessions_private.zoom_meetings where session_id = target), zoom_user_id
  )
  for no key update;
  if not found then
    return null;
  end if;
  insert into public.video_session_host_meta (session_id, host_id, host_start_url, expires_at)
  values (target, host, url, good_until)
  on conflict (session_id) do update set host_start_url = excluded.host_start_url, expires_at = excluded.expires_at;
  return good_until;
end
$$;

-- start-session, first: a stored start URL with ten more minutes, or a token to ask Zoom for a fresh one.
create function public.edge_start_begin(user_id uuid, holder uuid, session_id uuid) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  session public.video_sessions;
  stored public.video_session_host_meta;
begin
  select * into session from public.video_sessions where id = edge_start_begin.session_id;
  if session.host_id is distinct from edge_start_begin.user_id then
    return case when exists (
      select from public.video_session_participants
      where session_id = edge_start_begin.session_id and user_id = edge_start_begin.user_id
    ) then '{"outcome": "not_the_host"}' else '{"outcome": "not_found"}'::jsonb end;
  end if;
  if not video_sessions_private.may_host(edge_start_begin.user_id) then
    return '{"outcome": "not_a_host"}';
  end if;
  if not video_sessions_private.is_startable(session) then
    return jsonb_build_object('outcome', case session.status when 'cancelled' then 'gone' else 'ended' end);
  end if;
  if session.provider = 'external' then
    return jsonb_build_object('outcome', 'ready', 'host_start_url', session.join_url, 'expires_at', null);
  end if;
  select * into stored from public.video_session_host_meta
  where session_id = session.id and expires_at > now() + interval '10 minutes';
  if found then
    return jsonb_build_object(
      'outcome', 'ready', 'host_start_url', stored.host_start_url, 'expires_at', stored.expires_at
    );
  end if;
  if exists (
    select from video_sessions_private.zoom_meetings meeting
    join public.user_integrations_zoom connection on connection.user_id = edge_start_begin.user_id
    where meeting.session_id = session.id and connection.status = 'connected'
      and meeting.zoom_user_id <> connection.zoom_user_id
  ) then
    return jsonb_build_object('outcome', 'zoom_other_account', 'zoom_account_email', (
      select known.email
      from video_sessions_private.zoom_meetings meeting
      join video_sessions_private.zoom_accounts known
        on known.user_id = session.host_id and known.zoom_user_id = meeting.zoom_user_id
      where meeting.session_id = session.id
    ));
  end if;
  return jsonb_build_object(
    'outcome', 'fetch', 'meeting_id', session.provider_meeting_id,
    'token', video_sessions_private.claim_token(edge_start_begin.user_id, edge_start_begin.holder, 60, null)
  );
end
$$;

-- A passcode that was changed in Zoom changes the link, and the old one is dead: participants get what Zoom says now.
create function video_sessions_private.follow_link(target uuid, meeting jsonb) returns void
language sql security definer set search_path = ''
as $$
  update public.video_sessions set
    join_url = meeting ->> 'join_url', passcode = meeting ->> 'passcode',
    settings = coalesce(nullif(meeting -> 'settings', '{}'), settings)
  where id = target
    and (join_url, passcode, settings)
      is distinct from (meeting ->> 'join_url', meeting ->> 'passcode', coalesce(nullif(meeting -> 'settings', '{}'), settings))
    and meeting ->> 'join_url' ~ '^https?://[^\s/]+' and char_length(meeting ->> 'join_url') <= 2000
$$;

-- start-session, last: stores the fresh start URL, unless the session or the connection has ended meanwhile.
create function public.edge_start_complete(user_id uuid, session_id uuid, meeting_id text, meeting jsonb)
returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  session public.video_sessions;
  good_until timestamptz;
begin
  select * into session from public.video_sessions
  where id = edge_start_complete.session_id and host_id = edge_start_complete.user_id
    and provider_meeting_id = edge_start_complete.meeting_id
  for no key update;
  if not found or not video_sessions_private.is_startable(session) then
    return '{"outcome": "not_found"}';
  end if;
  -- A session that was taken over: now it is known whose meeting it is.
  update video_sessions_private.zoom_meetings set zoom_user_id = connection.zoom_user_id
  from public.user_integrations_zoom connection
  where zoom_meetings.session_id = session.id and zoom_meetings.zoom_user_id is null
    and connection.user_id = session.host_id;
  perform video_sessions_private.follow_link(session.id, edge_start_complete.meeting);
  good_until := video_sessions_private.store_start_url(
    session.id, session.host_id, edge_start_complete.meeting ->> 'start_url'
  );
  if good_until is null then
    if exists (select from public.user_integrations_zoom where user_id = session.host_id and status = 'connected') then
      return '{"outcome": "zoom_other_account"}';
    end if;
    return jsonb_build_object(
      'outcome', 'no_token', 'token', video_sessions_private.claim_token(session.host_id, null, 60, null)
    );
  end if;
  return jsonb_build_object(
    'outcome', 'ready', 'host_start_url', edge_start_complete.meeting ->> 'start_url', 'expires_at', good_until
  );
end
$$;

-- start-session, when Zoom says that the meeting does not exist any more.
create function public.edge_start_gone(user_id uuid, session_id uuid, meeting_id text) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
begin
  if exists (
    select from public.video_sessions session
    join video_sessions_private.zoom_meetings meeting on meeting.session_id = session.id
    join public.user_integrations_zoom connection on connection.user_id = session.host_id
    where session.id = edge_start_gone.session_id and session.host_id = edge_start_gone.user_id
      and session.provider_meeting_id = edge_start_gone.meeting_id
      -- Another Zoom user knows nothing of the meeting.
      and connection.zoom_user_id = meeting.zoom_user_id
  ) then
    perform video_sessions_private.meeting_is_gone(edge_start_gone.session_id, now(), 'answer');
  elsif exists (
    select from video_sessions_private.zoom_meetings
    where session_id = edge_start_gone.session_id and zoom_user_id is null
  ) then
    -- The session was taken over: perhaps the host is connected as another Zoom user than the one that made it.
    return '{"outcome": "zoom_other_account"}';
  end if;
  return '{"outcome": "gone"}';
end
$$;
