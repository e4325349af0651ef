-- A session's life at Zoom: created, started, told of by events, settled when nobody knows.

-- create-session, first: claims a row of the ledger and a token. An external session is created at once.
create function public.session_begin(
  user_id uuid, holder uuid, idempotency_key text, request_hash text, session jsonb
) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  host constant uuid := session_begin.user_id;
  external constant boolean := session_begin.session ->> 'provider' = 'external';
  guests constant uuid[] := array(select value::uuid from jsonb_array_elements_text(session_begin.session -> 'participant_ids'));
  known private.session_creations;
  created public.video_sessions;
  fields jsonb := '{}';
  token jsonb;
  new_id uuid;
begin
  if session_begin.idempotency_key is not null then
    select * into known from private.session_creations
    where user_id = host and idempotency_key = session_begin.idempotency_key and state <> 'failed';
    if found then
      return private.creation_so_far(known, session_begin.request_hash);
    end if;
  end if;
  if not public.can_host_video_sessions(host) then
    return '{"outcome": "not_a_host"}';
  end if;
  if not exists (select from private.time_zones where name = session_begin.session ->> 'timezone') then
    fields := fields || '{"timezone": "must be the name of an IANA time zone, such as Europe/Berlin"}';
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
    token := private.claim_token(host, session_begin.holder, 60, null);
    case token ->> 'state'
      when 'not_connected' then return '{"outcome": "zoom_not_connected"}';
      when 'expired' then return '{"outcome": "zoom_expired"}';
      when 'cooling_down' then
        return jsonb_build_object('outcome', 'cooling_down', 'retry_after_seconds', token -> 'retry_after_seconds');
      else null;
    end case;
  end if;

  insert into private.session_creations (user_id, zoom_user_id, idempotency_key, request_hash, request, next_check_at)
  -- Zoom is asked within a minute, and has a quarter of one to answer; what is open after two was abandoned.
  values (
    host, case when not external then (select zoom_user_id from public.user_integrations_zoom where user_id = host) end,
    session_begin.idempotency_key, session_begin.request_hash, session_begin.session, now() + interval '2 minutes'
  )
  on conflict (user_id, idempotency_key) where idempotency_key is not null and state <> 'failed' do nothing
  returning id into new_id;
  if new_id is null then
    -- Somebody else with the same key was a moment faster. A lease that was taken above goes back.
    update public.user_integrations_zoom set lease_holder = null, lease_until = null
    where user_id = host and lease_holder = session_begin.holder and token ->> 'state' = 'refresh';
    select * into known from private.session_creations
    where user_id = host and idempotency_key = session_begin.idempotency_key and state <> 'failed';
    return private.creation_so_far(known, session_begin.request_hash);
  end if;
  if external then
    created := private.insert_session(new_id, host, session_begin.session, null);
    return jsonb_build_object('outcome', 'created', 'session', to_jsonb(created));
  end if;
  return jsonb_build_object('outcome', 'create', 'creation_id', new_id, 'token', token);
end
$$;

-- What a repeated request with the same key hears.
create function private.creation_so_far(known private.session_creations, request_hash text) returns jsonb
language sql stable security definer set search_path = ''
as $$
  select case
    when known.request_hash is distinct from creation_so_far.request_hash and known.id is not null then '{"outcome": "key_reused"}'
    when known.state = 'done' then coalesce(
      (select jsonb_build_object('outcome', 'created', 'session', to_jsonb(v)) from public.video_sessions v where v.id = known.id),
      '{"outcome": "deleted"}'
    )
    when known.state = 'unknown' then '{"outcome": "running", "retry_after_seconds": 30}'
    else '{"outcome": "running", "retry_after_seconds": 2}'::jsonb
  end
$$;

-- Writes the session with its guests and closes its creation. `meeting` is Zoom's, null for an external session.
create function private.insert_session(creation_id uuid, host uuid, request jsonb, meeting jsonb) returns public.video_sessions
language plpgsql security definer set search_path = ''
as $$
declare
  session public.video_sessions;
begin
  insert into public.video_sessions (
    id, host_id, provider, title, description, scheduled_start, timezone, duration_minutes, max_participants,
    join_url, provider_meeting_id, passcode
  ) values (
    creation_id, host, request ->> 'provider', request ->> 'title', request ->> 'description',
    (request ->> 'scheduled_start')::timestamptz, request ->> 'timezone', (request ->> 'duration_minutes')::integer,
    (request ->> 'max_participants')::integer,
    coalesce(meeting ->> 'join_url', request ->> 'join_url'), meeting ->> 'id', meeting ->> 'passcode'
  )
  returning * into session;
  insert into public.video_session_participants (session_id, user_id)
  select creation_id, id from auth.users
  where id = any (array(select value::uuid from jsonb_array_elements_text(request -> 'participant_ids')));
  update private.session_creations set state = 'done', request = null, closed_at = now() where id = creation_id;
  return session;
end
$$;

-- create-session, last, and zoom-sync when it has found the meeting: the session, its start URL and its participants at once.
-- May be repeated. `closed`: the creation came to nothing meanwhile, and the meeting belongs to nobody: it will be deleted.
create function public.session_complete(creation_id uuid, user_id uuid, meeting jsonb) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  creation private.session_creations;
  session public.video_sessions;
  event record;
begin
  select * into creation from private.session_creations
  where id = session_complete.creation_id and user_id = session_complete.user_id for update;
  if creation.state = 'done' then
    select * into session from public.video_sessions
    where id = session_complete.creation_id and provider_meeting_id = session_complete.meeting ->> 'id';
    if found then
      return jsonb_build_object('outcome', 'created', 'session', to_jsonb(session));
    end if;
  end if;
  if creation.state in ('running', 'unknown') and not exists (select from auth.users where id = session_complete.user_id) then
    update private.session_creations set state = 'failed', request = null, closed_at = now(), code = 'account_deleted'
    where id = creation.id
    returning * into creation;
  end if;
  if creation.id is null then
    return '{"outcome": "closed"}';
  end if;
  if creation.state in ('done', 'failed') then
    perform private.enqueue(
      session_complete.meeting ->> 'id', creation.id, creation.user_id, creation.zoom_user_id, 'delete'
    );
    return '{"outcome": "closed"}';
  end if;

  -- An event of this meeting that comes at this moment is kept before, or finds the session after.
  perform private.lock_meeting(session_complete.meeting ->> 'id');
  session := private.insert_session(creation.id, session_complete.user_id, creation.request, session_complete.meeting);
  insert into private.zoom_meetings (
    session_id, zoom_user_id, title, description, scheduled_start, timezone, duration_minutes
  ) values (
    session.id, creation.zoom_user_id,
    session.title, session.description, session.scheduled_start, session.timezone, session.duration_minutes
  );
  perform private.store_start_url(session.id, session.host_id, session_complete.meeting ->> 'start_url');
  -- What happened in Zoom before we knew whose meeting it is.
  for event in
    update private.webhook_events set details = null
    from (
      select event_id, details from private.webhook_events
      where meeting_id = session.provider_meeting_id and details is not null
    ) as unmatched
    where webhook_events.event_id = unmatched.event_id
    returning webhook_events.event, webhook_events.event_ts, unmatched.details
  loop
    perform private.apply_meeting_event(session.id, event.event, event.event_ts, event.details);
  end loop;
  select * into session from public.video_sessions where id = session.id;
  return jsonb_build_object('outcome', 'created', 'session', to_jsonb(session));
end
$$;

-- Lets whoever connects a meeting with its session, and whoever has news of it, work one after another.
create function private.lock_meeting(meeting_id text) returns void
language sql set search_path = ''
as $$
  select pg_advisory_xact_lock(hashtextextended('zoom_meeting ' || meeting_id, 0))
$$;

-- A start URL is good for two hours from when Zoom made it, a moment ago.
create function private.store_start_url(target uuid, host uuid, url text) returns timestamptz
language sql security definer set search_path = ''
as $$
  insert into public.video_session_host_meta (session_id, host_id, host_start_url, expires_at)
  values (target, host, url, now() + interval '119 minutes')
  on conflict (session_id) do update set host_start_url = excluded.host_start_url, expires_at = excluded.expires_at
  returning expires_at
$$;

-- create-session and zoom-sync: nothing came of it (`failed`), or nobody knows (`unknown`). A meeting that zoom-sync does not
-- find (`no_meeting`) may still be on its way: it is looked for once more before the creation is closed.
create function public.session_fail(creation_id uuid, user_id uuid, result text, code text) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  creation private.session_creations;
begin
  select * into creation from private.session_creations
  where id = session_fail.creation_id and user_id = session_fail.user_id for update;
  if creation.id is null or creation.state in ('done', 'failed') then
    return '{"outcome": "closed"}';
  end if;
  if session_fail.result = 'unknown' then
    update private.session_creations set state = 'unknown', code = session_fail.code, next_check_at = now() + interval '30 seconds'
    where id = creation.id;
    return '{"outcome": "open"}';
  end if;
  if session_fail.code = 'no_meeting' and creation.checks < 2 then
    update private.session_creations set next_check_at = now() + interval '90 seconds' where id = creation.id;
    return '{"outcome": "open"}';
  end if;
  update private.session_creations set state = 'failed', code = session_fail.code, request = null, closed_at = now()
  where id = creation.id;
  if session_fail.code = 'zoom_daily_limit' then
    update public.user_integrations_zoom set daily_limit_until = date_trunc('day', now(), 'UTC') + interval '1 day'
    where user_id = creation.user_id;
  end if;
  return '{"outcome": "closed"}';
end
$$;

-- zoom-sync: claims creations whose outcome nobody knows for three minutes. The meeting can only be looked for while its host
-- is connected as the Zoom user who was asked for it; what cannot be within a week is closed, the meeting being out of reach.
create function public.creations_claim(holder uuid, max_rows integer) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  claimed jsonb;
begin
  update private.session_creations set state = 'failed', code = 'unreachable', request = null, closed_at = now()
  where state in ('running', 'unknown') and created_at < now() - interval '7 days' and next_check_at <= now();
  with due as (
    select creation.id from private.session_creations creation
    join public.user_integrations_zoom connection
      on connection.user_id = creation.user_id and connection.status = 'connected'
      and connection.zoom_user_id = creation.zoom_user_id
    where creation.state in ('running', 'unknown') and creation.next_check_at <= now()
    order by creation.next_check_at limit creations_claim.max_rows
    for update of creation skip locked
  ), claims as (
    update private.session_creations set checks = checks + 1, next_check_at = now() + interval '3 minutes'
    from due where session_creations.id = due.id
    returning session_creations.id, user_id, request
  )
  select coalesce(jsonb_agg(jsonb_build_object(
    'creation_id', id, 'user_id', user_id, 'request', request, 'token', private.peek_token(user_id)
  )), '[]') into claimed from claims;
  return jsonb_build_object('creations', claimed);
end
$$;

-- start-session, first: a stored start URL with ten more minutes, or a token to ask Zoom for a fresh one.
create function public.start_begin(user_id uuid, holder uuid, session_id uuid) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  session public.video_sessions;
  stored public.video_session_host_meta;
  token jsonb;
begin
  select * into session from public.video_sessions where id = start_begin.session_id;
  if session.host_id is distinct from start_begin.user_id then
    return case when exists (
      select from public.video_session_participants
      where session_id = start_begin.session_id and user_id = start_begin.user_id
    ) then '{"outcome": "not_the_host"}' else '{"outcome": "not_found"}'::jsonb end;
  end if;
  case session.status
    when 'cancelled' then return '{"outcome": "gone"}';
    when 'ended' then return '{"outcome": "ended"}';
    else null;
  end case;
  if session.provider = 'external' then
    return jsonb_build_object('outcome', 'ready', 'host_start_url', session.join_url, 'expires_at', null);
  end if;
  select * into stored from public.video_session_host_meta
  where session_id = session.id and expires_at > now() + interval '10 minutes';
  if found then
    return jsonb_build_object('outcome', 'ready', 'host_start_url', stored.host_start_url, 'expires_at', stored.expires_at);
  end if;
  if exists (
    select from private.zoom_meetings meeting
    join public.user_integrations_zoom connection on connection.user_id = start_begin.user_id
    where meeting.session_id = session.id and connection.status = 'connected'
      and meeting.zoom_user_id <> connection.zoom_user_id
  ) then
    return '{"outcome": "zoom_other_account"}';
  end if;
  token := private.claim_token(start_begin.user_id, start_begin.holder, 60, null);
  return case token ->> 'state'
    when 'not_connected' then '{"outcome": "zoom_not_connected"}'
    when 'expired' then '{"outcome": "zoom_expired"}'
    when 'cooling_down' then
      jsonb_build_object('outcome', 'cooling_down', 'retry_after_seconds', token -> 'retry_after_seconds')
    else jsonb_build_object('outcome', 'fetch', 'meeting_id', session.provider_meeting_id, 'token', token)
  end;
end
$$;

-- start-session, last: stores the fresh start URL, unless the session has gone or ended meanwhile.
create function public.start_complete(user_id uuid, session_id uuid, meeting_id text, host_start_url text) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  session public.video_sessions;
  good_until timestamptz;
begin
  select * into session from public.video_sessions
  where id = start_complete.session_id and host_id = start_complete.user_id
    and provider_meeting_id = start_complete.meeting_id and status = 'scheduled'
  for no key update;
  if not found then
    return '{"outcome": "not_found"}';
  end if;
  good_until := private.store_start_url(session.id, session.host_id, start_complete.host_start_url);
  return jsonb_build_object('outcome', 'ready', 'host_start_url', start_complete.host_start_url, 'expires_at', good_until);
end
$$;

-- start-session, when Zoom says that the meeting does not exist any more.
create function public.start_gone(user_id uuid, session_id uuid, meeting_id text) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
begin
  if exists (
    select from public.video_sessions session
    join private.zoom_meetings meeting on meeting.session_id = session.id
    join public.user_integrations_zoom connection on connection.user_id = session.host_id
    where session.id = start_gone.session_id and session.host_id = start_gone.user_id
      and session.provider_meeting_id = start_gone.meeting_id
      -- Another Zoom user knows nothing of the meeting.
      and connection.zoom_user_id = coalesce(meeting.zoom_user_id, connection.zoom_user_id)
  ) then
    perform private.meeting_is_gone(start_gone.session_id, now(), 'answer');
  end if;
  return '{"outcome": "gone"}';
end
$$;

-- A title as Zoom holds it: at most 200 UTF-16 units of it.
create function private.as_cut_by_zoom(title text) returns text
language sql immutable set search_path = ''
as $$
  select case
    when char_length(title) <= 100 then title
    else (
      select btrim(string_agg(letter, '' order by place))
      from (
        select letter, place, sum(case when ascii(letter) > 65535 then 2 else 1 end) over (order by place) as units
        from regexp_split_to_table(title, '') with ordinality as letters (letter, place)
      ) as counted
      where units <= 200
    )
  end
$$;

-- Applies an event of Zoom's to a session. Orders of arrival all lead to the same end: the earliest start and the latest end
-- count, nothing undoes an end, and of several changes of the same detail the newest counts. A detail that the app has changed
-- and Zoom has not been told of yet stays the app's, and so does one that is the app's again after Zoom was told another.
create function private.apply_meeting_event(target uuid, event text, happened_at timestamptz, details jsonb) returns void
language plpgsql security definer set search_path = ''
as $$
declare
  session public.video_sessions;
  held private.zoom_meetings;
  sent jsonb;
  new_title text := left(btrim(regexp_replace(details ->> 'topic', '[[:cntrl:]]+', ' ', 'g')), 200);
  new_start timestamptz := (details ->> 'start_time')::timestamptz;
  new_duration bigint := (details ->> 'duration')::bigint;
  new_timezone text := details ->> 'timezone';
begin
  select * into session from public.video_sessions where id = target for no key update;
  select * into held from private.zoom_meetings where session_id = target for update;
  if held.session_id is null then
    return;
  end if;
  case event
    when 'meeting.started' then
      update public.video_sessions set started_at = least(started_at, coalesce(new_start, happened_at)) where id = target;
    when 'meeting.ended' then
      update private.zoom_meetings set ended_at = greatest(ended_at, happened_at) where session_id = target;
      update public.video_sessions set
        status = 'ended', ended_at = greatest(ended_at, coalesce((details ->> 'end_time')::timestamptz, happened_at))
      where id = target;
      delete from public.video_session_host_meta where session_id = target;
      delete from private.zoom_outbox where session_id = target and kind = 'update';
    when 'meeting.deleted' then
      perform private.meeting_is_gone(target, happened_at, 'event');
    when 'meeting.updated' then
      select claimed_desired into sent from private.zoom_outbox where meeting_id = session.provider_meeting_id;
      -- What is left of a longer title at Zoom means the whole.
      new_title := case new_title
        when private.as_cut_by_zoom(session.title) then session.title
        when private.as_cut_by_zoom(held.title) then held.title
        else new_title
      end;
      if new_title <> '' and happened_at > held.title_at then
        if session.title = held.title and session.title = coalesce(sent ->> 'title', held.title) then
          session.title := new_title;
        end if;
        held.title := new_title;
        held.title_at := happened_at;
      end if;
      if new_start is not null and happened_at > held.scheduled_start_at then
        if session.scheduled_start = held.scheduled_start
          and session.scheduled_start = coalesce((sent ->> 'scheduled_start')::timestamptz, held.scheduled_start)
        then
          session.scheduled_start := new_start;
        end if;
        held.scheduled_start := new_start;
        held.scheduled_start_at := happened_at;
      end if;
      if new_duration between 1 and 1440 and happened_at > held.duration_minutes_at then
        if session.duration_minutes = held.duration_minutes
          and session.duration_minutes = coalesce((sent ->> 'duration_minutes')::integer, held.duration_minutes)
        then
          session.duration_minutes := new_duration;
        end if;
        held.duration_minutes := new_duration;
        held.duration_minutes_at := happened_at;
      end if;
      if happened_at > held.timezone_at and exists (select from private.time_zones where name = new_timezone) then
        if session.timezone = held.timezone and session.timezone = coalesce(sent ->> 'timezone', held.timezone) then
          session.timezone := new_timezone;
        end if;
        held.timezone := new_timezone;
        held.timezone_at := happened_at;
      end if;
      update private.zoom_meetings set
        title = held.title, title_at = held.title_at,
        scheduled_start = held.scheduled_start, scheduled_start_at = held.scheduled_start_at,
        duration_minutes = held.duration_minutes, duration_minutes_at = held.duration_minutes_at,
        timezone = held.timezone, timezone_at = held.timezone_at
      where session_id = target;
      update public.video_sessions set
        title = session.title, scheduled_start = session.scheduled_start,
        duration_minutes = session.duration_minutes, timezone = session.timezone
      where id = target
        and (title, scheduled_start, duration_minutes, timezone)
          is distinct from (session.title, session.scheduled_start, session.duration_minutes, session.timezone);
      -- What the app wants and Zoom does not hold is on its way, or sent again: this event overtook it.
      if session.status = 'scheduled' and held.deleted_at is null and private.differs(session, held)
        and not exists (select from private.zoom_outbox where meeting_id = session.provider_meeting_id)
      then
        perform private.enqueue(session.provider_meeting_id, target, session.host_id, held.zoom_user_id, 'update');
      end if;
    else
      raise exception 'an event that nobody applies: %', event;
  end case;
end
$$;

-- zoom-webhook: takes an event, once. `event_ts` is when it happened, in milliseconds since 1970.
create function public.webhook_receive(event_id text, event text, event_ts bigint, details jsonb) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  meeting constant text := webhook_receive.details ->> 'meeting_id';
  happened_at constant timestamptz := to_timestamp(webhook_receive.event_ts / 1000.0);
  session_id uuid;
  is_new boolean;
begin
  insert into private.webhook_events (event_id, event, event_ts, meeting_id)
  values (webhook_receive.event_id, webhook_receive.event, happened_at, meeting)
  on conflict (event_id) do nothing
  returning true into is_new;
  if is_new is null then
    return '{"outcome": "duplicate"}';
  end if;
  if webhook_receive.event = 'app_deauthorized' then
    return private.deauthorize(
      webhook_receive.details ->> 'zoom_user_id', webhook_receive.details ->> 'zoom_account_id',
      (webhook_receive.details ->> 'deauthorization_time')::timestamptz
    );
  end if;
  perform private.lock_meeting(meeting);
  select id into session_id from public.video_sessions where provider_meeting_id = meeting;
  if session_id is not null then
    perform private.apply_meeting_event(session_id, webhook_receive.event, happened_at, webhook_receive.details);
    return '{"outcome": "applied"}';
  end if;
  -- Not ours, as far as we know; but the answer to a creation may still be on its way.
  if exists (select from private.session_creations where state in ('running', 'unknown')) then
    update private.webhook_events set details = webhook_receive.details where event_id = webhook_receive.event_id;
    return '{"outcome": "kept"}';
  end if;
  return '{"outcome": "ignored"}';
end
$$;

-- A Zoom user has removed the app: connection and data of that user go. A connection that was made later is another one: it is
-- the late echo of our own revocation then.
create function private.deauthorize(zoom_user text, zoom_account text, deauthorized_at timestamptz) returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  connection public.user_integrations_zoom;
  ended integer := 0;
begin
  for connection in
    select * from public.user_integrations_zoom
    where zoom_user_id = zoom_user and zoom_account_id = zoom_account and connected_at < deauthorized_at
    for update
  loop
    delete from public.user_integrations_zoom where user_id = connection.user_id;
    delete from public.video_session_host_meta where host_id = connection.user_id;
    ended := ended + 1;
  end loop;
  delete from private.zoom_departures where zoom_user_id = zoom_user and created_at < deauthorized_at;
  return jsonb_build_object('outcome', case when ended > 0 then 'deauthorized' else 'ignored' end);
end
$$;

-- An account is deleted: its sessions go by their foreign key, and their meetings by the outbox; its connection stays as long as
-- that takes.
create function private.account_deleted() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  update public.user_integrations_zoom set account_deleted_at = now() where user_id = old.id;
  delete from private.session_creations where user_id = old.id and state in ('done', 'failed');
  return null;
end
$$;
create trigger video_sessions_account_deleted after delete on auth.users
for each row execute function private.account_deleted();

-- zoom-sync: claims connections that were left and not revoked yet. Those of deleted accounts leave when nothing of theirs is on
-- its way to Zoom any more, or after a day.
create function public.departures_claim(max_rows integer) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  connection public.user_integrations_zoom;
  claimed jsonb;
begin
  for connection in
    select * from public.user_integrations_zoom leaving
    where account_deleted_at is not null and (
      status = 'expired' or account_deleted_at < now() - interval '1 day'
      or not exists (select from private.zoom_outbox where user_id = leaving.user_id and dead_at is null)
        and not exists (
          select from private.session_creations where user_id = leaving.user_id and state in ('running', 'unknown')
        )
    )
    limit departures_claim.max_rows
    for update skip locked
  loop
    perform private.depart(connection);
    delete from private.zoom_outbox where user_id = connection.user_id;
    update private.zoom_departures set claimed_until = now() where user_id = connection.user_id;
  end loop;
  with due as (
    select id from private.zoom_departures where claimed_until <= now()
    order by claimed_until limit departures_claim.max_rows
    for update skip locked
  ), claims as (
    update private.zoom_departures set claimed_until = now() + interval '2 minutes'
    from due where zoom_departures.id = due.id
    returning zoom_departures.*
  )
  select coalesce(jsonb_agg(private.departure_as_json(claims)), '[]') into claimed from claims;
  return jsonb_build_object('departures', claimed);
end
$$;

-- zoom-sync: removes what has run out.
create function public.sync_purge() returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  start_urls integer;
begin
  delete from public.video_session_host_meta where expires_at <= now();
  get diagnostics start_urls = row_count;
  delete from private.zoom_oauth_states where expires_at < now() - interval '1 day';
  delete from private.session_creations where closed_at < now() - interval '7 days';
  delete from private.webhook_events where received_at < now() - interval '7 days';
  update private.webhook_events set details = null where details is not null and received_at < now() - interval '1 day';
  delete from private.share_code_misses where window_started_at < now() - interval '1 day';
  -- Revoking has failed for a week, though it is tried every other minute: the tokens have to go all the same.
  delete from private.zoom_departures where created_at < now() - interval '7 days';
  -- Their host never came back to Zoom.
  delete from private.zoom_outbox task
  where created_at < now() - interval '90 days' and not exists (
    select from public.user_integrations_zoom where user_id = task.user_id and status = 'connected'
  );
  return jsonb_build_object('start_urls', start_urls);
end
$$;

revoke execute on function
  private.creation_so_far, private.insert_session, private.lock_meeting, private.store_start_url,
  private.as_cut_by_zoom, private.apply_meeting_event,
  private.deauthorize, private.account_deleted,
  public.session_begin, public.session_complete, public.session_fail, public.creations_claim,
  public.start_begin, public.start_complete, public.start_gone, public.webhook_receive, public.departures_claim, public.sync_purge
from public, anon, authenticated, service_role;
grant execute on function
  public.session_begin, public.session_complete, public.session_fail, public.creations_claim,
  public.start_begin, public.start_complete, public.start_gone, public.webhook_receive, public.departures_claim, public.sync_purge
to service_role;
