-- What Zoom tells us: its events, each once, in any order.

-- Zoom's events, each once. `details` is kept only while a creation is open that the event may belong to.
create table video_sessions_private.webhook_events (
  event_id text primary key,
  event text not null,
  event_ts timestamptz not null,
  meeting_id text,
  details jsonb,
  received_at timestamptz not null default now()
);
create index webhook_events_received_at_idx on video_sessions_private.webhook_events (received_at);
create index webhook_events_details_idx on video_sessions_private.webhook_events (received_at)
where details is not null;
create index webhook_events_unmatched_idx on video_sessions_private.webhook_events (meeting_id)
where details is not null;

-- Lets whoever connects a meeting with its session, and whoever has news of it, work one after another.
create function video_sessions_private.lock_meeting(meeting_id text) returns void
language sql set search_path = ''
as $$
  select pg_advisory_xact_lock(hashtextextended('zoom_meeting ' || meeting_id, 0))
$$;

-- zoom-webhook: takes an event, once. `event_ts` is when it happened, in milliseconds since 1970.
create function public.edge_webhook_receive(event_id text, event text, event_ts bigint, details jsonb) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  meeting constant text := edge_webhook_receive.details ->> 'meeting_id';
  happened_at constant timestamptz := to_timestamp(edge_webhook_receive.event_ts / 1000.0);
  account constant text := edge_webhook_receive.details ->> 'account_id';
  target uuid;
  is_new boolean;
begin
  insert into video_sessions_private.webhook_events (event_id, event, event_ts, meeting_id)
  values (edge_webhook_receive.event_id, edge_webhook_receive.event, happened_at, meeting)
  on conflict (event_id) do nothing
  returning true into is_new;
  if is_new is null then
    return '{"outcome": "duplicate"}';
  end if;
  if edge_webhook_receive.event = 'app_deauthorized' then
    return video_sessions_private.deauthorize(
      edge_webhook_receive.details ->> 'zoom_user_id', edge_webhook_receive.details ->> 'zoom_account_id',
      (edge_webhook_receive.details ->> 'deauthorization_time')::timestamptz
    );
  end if;
  perform video_sessions_private.lock_meeting(meeting);
  select id into target from public.video_sessions where provider_meeting_id = meeting;
  -- An event of another Zoom account than the meeting's is not believed.
  if target is not null and account is not null and exists (
    select from video_sessions_private.zoom_meetings held
    where held.session_id = target and held.zoom_account_id <> account and not exists (
      -- A Zoom user may move to another account, meetings and all.
      select from public.user_integrations_zoom
      where zoom_user_id = held.zoom_user_id and zoom_account_id = account
    )
  ) then
    return '{"outcome": "ignored"}';
  end if;
  if target is not null then
    perform video_sessions_private.apply_meeting_event(
      target, edge_webhook_receive.event, happened_at, edge_webhook_receive.details
    );
    return '{"outcome": "applied"}';
  end if;
  -- Not ours, as far as we know; but the answer to a creation may still be on its way.
  if exists (select from video_sessions_private.session_creations where state in ('running', 'unknown')) then
    update video_sessions_private.webhook_events set details = edge_webhook_receive.details
    where event_id = edge_webhook_receive.event_id;
    return '{"outcome": "kept"}';
  end if;
  return '{"outcome": "ignored"}';
end
$$;

-- Applies an event of Zoom's to a session. Orders of arrival all lead to the same end: what is told of instances is
-- added to what is known of them, and of several changes of the same detail the newest counts. A detail that
-- the app has changed and Zoom has not been told of yet stays the app's, and so does one that is the app's again after
-- Zoom was told another.
create function video_sessions_private.apply_meeting_event(target uuid, event text, happened_at timestamptz,
details jsonb) returns void
language plpgsql security definer set search_path = ''
as $$
declare
  session public.video_sessions;
  held video_sessions_private.zoom_meetings;
  sent jsonb;
  new_title text := video_sessions_private.as_title(details ->> 'topic');
  new_start timestamptz := (details ->> 'start_time')::timestamptz;
  -- When an instance began and ended; a time that makes no sense is the event's own.
  began timestamptz := least(happened_at, case when new_start > happened_at - interval '30 days' then new_start end);
  ended timestamptz := case
    when (details ->> 'end_time')::timestamptz between happened_at - interval '30 days' and happened_at
      then (details ->> 'end_time')::timestamptz
    else happened_at
  end;
  instance constant text := coalesce(details ->> 'uuid', 'at ' || coalesce(new_start, happened_at));
  new_duration bigint := (details ->> 'duration')::bigint;
  new_timezone text := details ->> 'timezone';
begin
  select * into session from public.video_sessions where id = target for no key update;
  select * into held from video_sessions_private.zoom_meetings where session_id = target for update;
  if held.session_id is null then
    return;
  end if;
  -- A clock that is ahead of ours must not make its events newer than what happens here next.
  happened_at := least(happened_at, now());
  began := least(began, happened_at);
  ended := least(ended, happened_at);
  new_start := case when new_start between '2010-01-01' and now() + interval '20 years' then new_start end;
  update video_sessions_private.zoom_meetings set heard_at = now() where session_id = target;
  case event
    when 'meeting.started' then
      perform video_sessions_private.note_instance(
        target, instance, began, null,
        -- A start that is told late may be over: only Zoom's answer says that it goes on.
        case when began > now() - interval '15 minutes' then began end
      );
      if began <= now() - interval '15 minutes' then
        perform video_sessions_private.ask_soon(target);
      end if;
      perform video_sessions_private.settle(target);
    when 'meeting.ended' then
      perform video_sessions_private.note_instance(
        target, instance, case when new_start is not null then least(began, ended) end, ended, null
      );
      perform video_sessions_private.settle(target);
      -- What a meeting refuses while it goes on.
      update video_sessions_private.zoom_outbox set next_attempt_at = now()
      where session_id = target and last_code = 'meeting_running';
    when 'meeting.deleted', 'meeting.permanently_deleted' then
      perform video_sessions_private.meeting_is_gone(target, happened_at, 'event');
    when 'meeting.recovered' then
      update video_sessions_private.zoom_meetings set
        recovered_at = greatest(recovered_at, happened_at),
        deleted_at = case when deleted_at >= happened_at then deleted_at end
      where session_id = target returning * into held;
      perform video_sessions_private.settle(target);
      select * into session from public.video_sessions where id = target;
      if held.deleted_at is null and (
        video_sessions_private.is_unwanted(session)
        or session.status = 'scheduled' and video_sessions_private.differs(session, held)
      ) then
        perform video_sessions_private.enqueue(
          session.provider_meeting_id, target, session.host_id, held.zoom_user_id,
          case when session.status = 'scheduled' then 'update' else 'delete' end
        );
      end if;
    when 'meeting.updated' then
      if details ? 'changes_link' then
        -- The new link is not in the event.
        perform video_sessions_private.ask_soon(target);
      end if;
      select claimed_desired into sent from video_sessions_private.zoom_outbox
      where meeting_id = session.provider_meeting_id;
      -- What is left of a longer title at Zoom means the whole.
      new_title := case new_title
        when video_sessions_private.as_cut_by_zoom(session.title) then session.title
        when video_sessions_private.as_cut_by_zoom(held.title) then held.title
        else new_title
      end;
      -- What is older than what is held changes nothing. But where the one was made in Zoom and the other sent by us
      -- at about the same time, only Zoom's answer says which came last.
      if happened_at <= held.title_at and nullif(new_title, '') <> held.title
        or happened_at <= held.scheduled_start_at and new_start <> held.scheduled_start
        or happened_at <= held.duration_minutes_at and new_duration <> held.duration_minutes
        or happened_at <= held.timezone_at and video_sessions_private.is_time_zone(new_timezone)
          and not video_sessions_private.same_zone(new_timezone, held.timezone)
      then
        perform video_sessions_private.ask_soon(target);
      end if;
      if new_title <> '' and happened_at > held.title_at then
        if session.title = held.title and session.title = coalesce(sent ->> 'title', held.title) then
          session.title := new_title;
        end if;
        held.title := new_title;
        held.title_at := happened_at;
      end if;
      if new_start is not null and happened_at > held.scheduled_start_at then
        if not video_sessions_private.untold(session, held) ? 'scheduled_start'
          and coalesce(session.scheduled_start = (sent ->> 'scheduled_start')::timestamptz, true)
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
      -- Zones with the same rules are one: what we sent for the session's own is not the host's change.
      if happened_at > held.timezone_at and video_sessions_private.is_time_zone(new_timezone) then
        if not video_sessions_private.same_zone(new_timezone, held.timezone)
          and not video_sessions_private.untold(session, held) ? 'timezone'
          and video_sessions_private.same_zone(session.timezone, sent ->> 'timezone')
        then
          session.timezone := new_timezone;
        end if;
        held.timezone := new_timezone;
        held.timezone_at := happened_at;
      end if;
      update video_sessions_private.zoom_meetings set
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
          is distinct from (session.title, session.scheduled_start, session.duration_minutes, session.timezone)
        -- What a person has closed stays as it was.
        and not exists (
          select from video_sessions_private.session_life where session_id = target and closed_as is not null
        );
      -- What the app wants and Zoom does not hold is on its way, or sent again: this event overtook it.
      if session.status = 'scheduled' and held.deleted_at is null and video_sessions_private.differs(session, held)
        and not exists (select from video_sessions_private.zoom_outbox where meeting_id = session.provider_meeting_id)
      then
        perform video_sessions_private.enqueue(
          session.provider_meeting_id, target, session.host_id, held.zoom_user_id, 'update'
        );
      end if;
    else
      raise exception 'an event that nobody applies: %', event;
  end case;
end
$$;

-- A title as Zoom holds it: at most 200 UTF-16 units of it.
create function video_sessions_private.as_cut_by_zoom(title text) returns text
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
