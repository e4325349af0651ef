-- Creating a session: the idempotency ledger, the meeting, the session; and what becomes of a creation whose answer was
-- lost.

-- The idempotency ledger: one row for every creation of a Zoom session. Its id becomes the session's, and stands at the
-- start of the meeting's agenda, so that a meeting whose answer was lost can be found.
create table video_sessions_private.session_creations (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null,
  zoom_user_id text,
  idempotency_key text,
  request_hash text not null,
  request jsonb,
  state text not null default 'running' check (state in ('running', 'unknown', 'done', 'failed')),
  -- Why nothing came of it, or why nobody knows: what kept Zoom from it; what zoom-sync found; what happened meanwhile.
  code text check (code in (
    'not_connected', 'daily_limit', 'rate_limit', 'no_token', 'misconfigured', 'unclear', 'refused', 'cannot_host',
    'internal', 'no_meeting', 'too_late', 'meeting_gone', 'account_deleted', 'unreachable'
  )),
  checks integer not null default 0,
  next_check_at timestamptz not null,
  put_off boolean not null default false,
  created_at timestamptz not null default now(),
  closed_at timestamptz,
  -- What was asked for is kept as long as it may still be needed, and no longer.
  check ((state in ('running', 'unknown')) = (request is not null)),
  check ((state in ('done', 'failed')) = (closed_at is not null))
);

-- A key is free again when nothing came of its creation.
create unique index session_creations_key_idx on video_sessions_private.session_creations (user_id, idempotency_key)
  where idempotency_key is not null and state <> 'failed';
create index session_creations_user_id_idx on video_sessions_private.session_creations (user_id);
create index session_creations_open_idx on video_sessions_private.session_creations (next_check_at)
where state in ('running', 'unknown');
create index session_creations_closed_idx on video_sessions_private.session_creations (closed_at)
where closed_at is not null;
comment on column video_sessions_private.session_creations.zoom_user_id is
  'Who was connected: in whose meetings zoom-sync looks.';
comment on column video_sessions_private.session_creations.state is
  'running: Zoom is being asked; unknown: its answer was lost; done: the session exists; failed: nothing came of it.';
comment on column video_sessions_private.session_creations.put_off is
  'Its host is not connected as the Zoom user who was asked: looked at again when they are (connection_is_back).';
comment on column video_sessions_private.session_creations.checks is 'How often zoom-sync has looked for the meeting.';

-- What a repeated request with the same key hears.
create function video_sessions_private.creation_so_far(known video_sessions_private.session_creations,
request_hash text) returns jsonb
language sql stable security definer set search_path = ''
as $$
  select case
    when known.request_hash is distinct from creation_so_far.request_hash and known.id is not null
      then '{"outcome": "key_reused"}'
    when known.state = 'done' then coalesce(
      (
        select jsonb_build_object('outcome', 'created', 'session', video_sessions_private.session_with_code(v))
        from public.video_sessions v where v.id = known.id
      ),
      '{"outcome": "deleted"}'
    )
    when known.state = 'unknown' then '{"outcome": "running", "retry_after_seconds": 30}'
    else '{"outcome": "running", "retry_after_seconds": 2}'::jsonb
  end
$$;

-- Whether nobody is seeing to a creation any more, and it may have a meeting. One that was begun a moment ago is still
-- with the request that began it, which says itself what becomes of it.
create function video_sessions_private.is_unclear(creation video_sessions_private.session_creations) returns boolean
language sql stable set search_path = ''
as $$
  select creation.state = 'unknown'
    or creation.state = 'running' and (creation.checks > 0 or creation.next_check_at <= now())
$$;

-- Writes the session with its guests and closes its creation. `meeting` is Zoom's, null for an external session.
create function video_sessions_private.insert_session(creation_id uuid, host uuid, request jsonb,
meeting jsonb) returns public.video_sessions
language plpgsql security definer set search_path = ''
as $$
declare
  session public.video_sessions;
begin
  insert into public.video_sessions (
    id, host_id, provider, title, description, scheduled_start, timezone, duration_minutes, max_participants,
    join_url, provider_meeting_id, passcode, settings
  ) values (
    creation_id, host, request ->> 'provider', request ->> 'title', request ->> 'description',
    (request ->> 'scheduled_start')::timestamptz, request ->> 'timezone', (request ->> 'duration_minutes')::integer,
    (request ->> 'max_participants')::integer,
    coalesce(meeting ->> 'join_url', request ->> 'join_url'), meeting ->> 'id', meeting ->> 'passcode',
    coalesce(meeting -> 'settings', '{}')
  )
  returning * into session;
  insert into public.video_session_participants (session_id, user_id)
  select creation_id, id from auth.users
  where id = any (array(select value::uuid from jsonb_array_elements_text(request -> 'participant_ids')));
  update video_sessions_private.session_creations set state = 'done', request = null, closed_at = now()
  where id = creation_id;
  return session;
end
$$;

-- A request that is repeated with its key gets the session that it has made, though its start is past by then: only a
-- session that is yet to be made must not start in the past, so that is looked at after the key.

-- create-session, first: claims a row of the ledger and a token. An external session is created at once.
create function public.edge_session_begin(
  user_id uuid, holder uuid, idempotency_key text, request_hash text, session jsonb
) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  host constant uuid := edge_session_begin.user_id;
  external constant boolean := edge_session_begin.session ->> 'provider' = 'external';
  guests constant uuid[] :=
    array(select value::uuid from jsonb_array_elements_text(edge_session_begin.session -> 'participant_ids'));
  known video_sessions_private.session_creations;
  created public.video_sessions;
  fields jsonb := '{}';
  refusal jsonb;
  token jsonb;
  new_id uuid;
begin
  if edge_session_begin.idempotency_key is not null then
    select * into known from video_sessions_private.session_creations
    where user_id = host and idempotency_key = edge_session_begin.idempotency_key and state <> 'failed';
    if found then
      return video_sessions_private.creation_so_far(known, edge_session_begin.request_hash);
    end if;
  end if;
  if not video_sessions_private.may_host(host) then
    return '{"outcome": "not_a_host"}';
  end if;
  if not video_sessions_private.is_time_zone(edge_session_begin.session ->> 'timezone') then
    fields := fields || '{"timezone": "must be the name of a time zone, such as Europe/Berlin"}';
  end if;
  -- The functions allow the same five minutes, and say the same, where no key is given.
  if (edge_session_begin.session ->> 'scheduled_start')::timestamptz < now() - interval '5 minutes' then
    fields := fields || '{"scheduled_start": "must not be in the past"}';
  end if;
  if not video_sessions_private.is_title(edge_session_begin.session ->> 'title') then
    fields := fields || jsonb_build_object('title', video_sessions_private.title_rule());
  end if;
  if external and not video_sessions_private.is_join_url(edge_session_begin.session ->> 'join_url') then
    fields := fields || jsonb_build_object('join_url', video_sessions_private.join_url_rule());
  end if;
  if host = any (guests) then
    fields := fields || '{"participant_ids": "must not name the host, who takes part anyway"}';
  elsif (select count(*) from auth.users where id = any (guests)) < cardinality(guests) then
    fields := fields || '{"participant_ids": "name somebody who does not exist"}';
  end if;
  if fields <> '{}' then
    return jsonb_build_object('outcome', 'invalid', 'fields', fields);
  end if;

  if not external then
    token := video_sessions_private.claim_token(host, edge_session_begin.holder, 60, null);
    if token ->> 'state' in ('not_connected', 'expired', 'cooling_down') then
      return jsonb_build_object('outcome', 'no_token', 'token', token);
    end if;
  end if;
  refusal := coalesce(
    video_sessions_private.check_sessions_to_come(host, 1),
    video_sessions_private.use_quota('creations_an_hour', host)
  );
  if refusal is not null then
    perform video_sessions_private.give_back_lease(host, edge_session_begin.holder);
    return refusal;
  end if;

  insert into video_sessions_private.session_creations (user_id, zoom_user_id, idempotency_key, request_hash, request,
  next_check_at)
  -- Zoom is asked within a minute, and has a quarter of one to answer; what is open after two was abandoned.
  values (
    host, case when not external then (select zoom_user_id from public.user_integrations_zoom where user_id = host) end,
    edge_session_begin.idempotency_key, edge_session_begin.request_hash, edge_session_begin.session,
    now() + interval '2 minutes'
  )
  on conflict (user_id, idempotency_key) where idempotency_key is not null and state <> 'failed' do nothing
  returning id into new_id;
  if new_id is null then
    -- Somebody else with the same key was a moment faster. A lease that was taken above goes back.
    perform video_sessions_private.give_back_lease(host, edge_session_begin.holder);
    select * into known from video_sessions_private.session_creations
    where user_id = host and idempotency_key = edge_session_begin.idempotency_key and state <> 'failed';
    return video_sessions_private.creation_so_far(known, edge_session_begin.request_hash);
  end if;
  if external then
    created := video_sessions_private.insert_session(new_id, host, edge_session_begin.session, null);
    return jsonb_build_object('outcome', 'created', 'session', video_sessions_private.session_with_code(created));
  end if;
  return jsonb_build_object(
    'outcome', 'create', 'creation_id', new_id, 'token', token,
    'zoom_timezone', video_sessions_private.zoom_zone(edge_session_begin.session ->> 'timezone')
  );
end
$$;

-- create-session, last, and zoom-sync when it has found the meeting: the session, its start URL and its participants at
-- once. May be repeated. `closed`: the creation came to nothing meanwhile, and the meeting belongs to nobody: it will
-- be deleted.
create function public.edge_session_complete(creation_id uuid, user_id uuid, meeting jsonb) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  creation video_sessions_private.session_creations;
  session public.video_sessions;
  event record;
begin
  select * into creation from video_sessions_private.session_creations
  where id = edge_session_complete.creation_id and user_id = edge_session_complete.user_id for update;
  if creation.state = 'done' then
    select * into session from public.video_sessions
    where id = edge_session_complete.creation_id and provider_meeting_id = edge_session_complete.meeting ->> 'id';
    if found then
      return jsonb_build_object('outcome', 'created', 'session', video_sessions_private.session_with_code(session));
    end if;
  end if;
  if creation.state in ('running', 'unknown') and not exists (select from auth.users
  where id = edge_session_complete.user_id) then
    update video_sessions_private.session_creations set
      state = 'failed', request = null, closed_at = now(), code = 'account_deleted'
    where id = creation.id
    returning * into creation;
  end if;
  if creation.id is null then
    return '{"outcome": "closed"}';
  end if;
  if creation.state in ('done', 'failed') then
    perform video_sessions_private.enqueue(
      edge_session_complete.meeting ->> 'id', creation.id, creation.user_id, creation.zoom_user_id, 'delete'
    );
    return '{"outcome": "closed"}';
  end if;

  -- An event of this meeting that comes at this moment is kept before, or finds the session after.
  perform video_sessions_private.lock_meeting(edge_session_complete.meeting ->> 'id');
  session := video_sessions_private.insert_session(creation.id, edge_session_complete.user_id, creation.request,
  edge_session_complete.meeting);
  insert into video_sessions_private.zoom_meetings (
    session_id, zoom_user_id, zoom_account_id, uuid, uuid_at,
    title, description, scheduled_start, timezone, duration_minutes
  ) values (
    session.id, creation.zoom_user_id, (
      select zoom_account_id from public.user_integrations_zoom
      where user_id = creation.user_id and zoom_user_id = creation.zoom_user_id
    ), edge_session_complete.meeting ->> 'uuid', creation.created_at,
    session.title, session.description, session.scheduled_start,
    coalesce(
      edge_session_complete.meeting ->> 'timezone', video_sessions_private.zoom_zone(session.timezone)
    ),
    session.duration_minutes
  );
  perform video_sessions_private.store_start_url(
    session.id, session.host_id, edge_session_complete.meeting ->> 'start_url'
  );
  -- What happened in Zoom before we knew whose meeting it is.
  for event in
    update video_sessions_private.webhook_events set details = null
    from (
      select event_id, details from video_sessions_private.webhook_events
      where meeting_id = session.provider_meeting_id and details is not null
    ) as unmatched
    where webhook_events.event_id = unmatched.event_id
    returning webhook_events.event, webhook_events.event_ts, unmatched.details
  loop
    perform video_sessions_private.apply_meeting_event(session.id, event.event, event.event_ts, event.details);
  end loop;
  select * into session from public.video_sessions where id = session.id;
  return jsonb_build_object('outcome', 'created', 'session', video_sessions_private.session_with_code(session));
end
$$;

-- create-session and zoom-sync: nothing came of it (`failed`), or nobody knows (`unknown`). A meeting that zoom-sync
-- does not find (`no_meeting`) may still be on its way: it is looked for once more before the creation is closed.
create function public.edge_session_fail(creation_id uuid, user_id uuid, result text, code text) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  creation video_sessions_private.session_creations;
begin
  select * into creation from video_sessions_private.session_creations
  where id = edge_session_fail.creation_id and user_id = edge_session_fail.user_id for update;
  if creation.id is null or creation.state in ('done', 'failed') then
    return '{"outcome": "closed"}';
  end if;
  if edge_session_fail.result = 'unknown' then
    update video_sessions_private.session_creations set
      state = 'unknown', code = edge_session_fail.code, next_check_at = now() + interval '30 seconds'
    where id = creation.id;
    return '{"outcome": "open"}';
  end if;
  if edge_session_fail.code = 'no_meeting' and creation.checks < 2 then
    update video_sessions_private.session_creations set next_check_at = now() + interval '90 seconds'
    where id = creation.id;
    return '{"outcome": "open"}';
  end if;
  update video_sessions_private.session_creations set
    state = 'failed', code = edge_session_fail.code, request = null, closed_at = now()
  where id = creation.id;
  if edge_session_fail.code = 'daily_limit' then
    update public.user_integrations_zoom set daily_limit_until = date_trunc('day', now(), 'UTC') + interval '1 day'
    where user_id = creation.user_id;
  end if;
  return '{"outcome": "closed"}';
end
$$;

-- zoom-sync: claims creations whose outcome nobody knows for three minutes. The meeting can only be looked for while
-- its host is connected as the Zoom user who was asked for it: what cannot be is put off, and closed after a week, the
-- meeting being out of reach.
create function public.edge_creations_claim(max_rows integer, only_user uuid default null) returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  candidate uuid;
  creation video_sessions_private.session_creations;
  creations jsonb := '[]';
begin
  foreach candidate in array array(
    select id from video_sessions_private.session_creations
    where edge_creations_claim.only_user is null and state in ('running', 'unknown') and next_check_at <= now()
    order by next_check_at limit 50
  ) || array(
    select id from video_sessions_private.session_creations open_creation
    where user_id = edge_creations_claim.only_user and state in ('running', 'unknown')
      and video_sessions_private.is_unclear(open_creation)
    order by created_at limit 50
  ) loop
    exit when jsonb_array_length(creations) >= edge_creations_claim.max_rows;
    select * into creation from video_sessions_private.session_creations
    where id = candidate and state in ('running', 'unknown')
      and (next_check_at <= now() or edge_creations_claim.only_user is not null)
    for update skip locked;
    continue when not found;
    if creation.created_at < now() - interval '7 days' then
      update video_sessions_private.session_creations set
        state = 'failed', code = 'unreachable', request = null, closed_at = now()
      where id = creation.id;
    elsif exists (
      select from public.user_integrations_zoom
      where user_id = creation.user_id and status = 'connected' and zoom_user_id = creation.zoom_user_id
    ) then
      update video_sessions_private.session_creations set
        checks = checks + 1, next_check_at = now() + interval '3 minutes', put_off = false
      where id = creation.id;
      creations := creations || jsonb_build_object(
        'creation_id', creation.id, 'user_id', creation.user_id, 'request', creation.request,
        'token', video_sessions_private.peek_token(creation.user_id)
      );
    else
      update video_sessions_private.session_creations set
        put_off = true,
        next_check_at = now() + least(interval '6 hours', greatest(interval '1 minute', (now() - created_at) / 2))
      where id = creation.id;
    end if;
  end loop;
  return jsonb_build_object('creations', creations);
end
$$;
