-- A session lives as long as its meeting does. A Zoom meeting is started and ended any number of times; what is known
-- of that is kept as facts, in whatever order it comes. A session's status, start and end follow from the facts, the
-- plan and the clock: `state_of` says how, and nothing else does.

-- Each time that a meeting was held.
create table video_sessions_private.meeting_instances (
  session_id uuid not null references public.video_sessions (id) on delete cascade,
  uuid text not null,
  started_at timestamptz,
  ended_at timestamptz,
  seen_at timestamptz,
  asked_end timestamptz,
  primary key (session_id, uuid)
);
comment on column video_sessions_private.meeting_instances.started_at is
  'When Zoom says that it began, or when it was first seen to go on.';
comment on column video_sessions_private.meeting_instances.ended_at is 'When Zoom''s event says that it ended.';
comment on column video_sessions_private.meeting_instances.seen_at is
  'When it was last known to go on. Null: its start was told so late that it may be over; Zoom has to be asked.';
comment on column video_sessions_private.meeting_instances.asked_end is
  'When Zoom was first asked and it did not go on any more.';

-- What people did with a session, and when the clock may change it.
create table video_sessions_private.session_life (
  session_id uuid primary key references public.video_sessions (id) on delete cascade,
  closed_as text check (closed_as in ('ended', 'cancelled')),
  closed_at timestamptz,
  next_at timestamptz,
  check ((closed_as is null) = (closed_at is null))
);
create index session_life_next_at_idx on video_sessions_private.session_life (next_at) where next_at is not null;
comment on column video_sessions_private.session_life.closed_as is 'What a person made of the session, for good.';
comment on column video_sessions_private.session_life.next_at is
  'When time alone may change the session next: zoom-sync looks at it then.';

create type video_sessions_private.session_state as (
  status text, started_at timestamptz, ended_at timestamptz, next_at timestamptz
);

-- The state of a session at a time. The first rule that fits counts.
create function video_sessions_private.state_of(session public.video_sessions, at timestamptz)
returns video_sessions_private.session_state
language plpgsql stable security definer set search_path = ''
as $$
declare
  planned_start constant timestamptz := session.scheduled_start;
  planned_end constant timestamptz := session.scheduled_start + make_interval(mins => session.duration_minutes);
  -- Nothing that belongs to this session goes on for longer.
  last_chance constant timestamptz := planned_end + interval '24 hours';
  closed_as text;
  closed_at timestamptz;
  gone_at timestamptz;
  heard_at timestamptz;
  first_start timestamptz;
  last_end timestamptz;
  last_end_is_told boolean;
  runs boolean;
  over_at timestamptz;
begin
  select life.closed_as, life.closed_at into closed_as, closed_at
  from video_sessions_private.session_life life where life.session_id = session.id;

  if session.provider = 'external' then
    first_start := case when least(at, closed_at) >= planned_start then planned_start end;
    return case
      when closed_as is not null then (
        closed_as, first_start, case when closed_as = 'ended' or first_start is not null then closed_at end, null
      )::video_sessions_private.session_state
      when at < planned_start then ('scheduled', null, null, planned_start)::video_sessions_private.session_state
      when at < planned_end then ('scheduled', first_start, null, planned_end)::video_sessions_private.session_state
      else ('ended', first_start, planned_end, null)::video_sessions_private.session_state
    end;
  end if;

  select meeting.deleted_at, meeting.heard_at into gone_at, heard_at
  from video_sessions_private.zoom_meetings meeting where meeting.session_id = session.id;
  with told as (
    select coalesce(i.started_at, i.ended_at, i.asked_end) as began, i.ended_at, i.asked_end, i.seen_at,
      -- A next start ends what came before it.
      lead(coalesce(i.started_at, i.ended_at, i.asked_end))
        over (order by coalesce(i.started_at, i.ended_at, i.asked_end), i.ended_at nulls last, i.uuid) as next_start
    from video_sessions_private.meeting_instances i
    where i.session_id = session.id
      -- What begins after a person has closed the session does not belong to it.
      and (closed_at is null or coalesce(i.started_at, i.ended_at, i.asked_end) <= closed_at)
  ), known as (
    select began, seen_at, ended_at is not null as is_told,
      ended_at is null and coalesce(asked_end, next_start) is not null as is_inferred,
      coalesce(ended_at, asked_end, next_start, case
        when seen_at is null then null
        when coalesce(closed_at, gone_at) is not null then greatest(seen_at, coalesce(closed_at, gone_at))
        when at >= last_chance then seen_at
      end) as ended
    from told
  ), instances as (
    select *,
      coalesce(
        -- An end that nobody told may be much later than the true one: only what began about then was held.
        case
          when is_inferred then ended >= planned_start and began >= planned_start - interval '2 hours'
          else ended >= planned_start
            or ended - began >= interval '10 minutes' and began >= planned_start - interval '2 hours'
        end,
        false
      ) as is_held
    from known
  )
  select min(began) filter (where is_held or ended is null), max(ended) filter (where is_held),
    (array_agg(is_told order by ended desc) filter (where is_held))[1], coalesce(bool_or(ended is null), false)
  into first_start, last_end, last_end_is_told, runs
  from instances where ended is not null or seen_at is not null;

  -- 1. A person cancelled or ended it.
  if closed_as is not null then
    return (
      closed_as, first_start, case when closed_as = 'ended' then coalesce(last_end, closed_at) else last_end end, null
    )::video_sessions_private.session_state;
  end if;
  -- 2. Its meeting is gone at Zoom.
  if gone_at is not null then
    return (
      case when last_end is null then 'cancelled' else 'ended' end, first_start, last_end, null
    )::video_sessions_private.session_state;
  end if;
  -- 3. It goes on.
  if runs then
    return ('scheduled', first_start, null, last_chance)::video_sessions_private.session_state;
  end if;
  -- 4. It was held: it may be interrupted. 5. It was never held: it may be late.
  over_at := case
    when last_end is null then planned_end + interval '60 minutes'
    else greatest(planned_end, last_end) + case when last_end_is_told then interval '15 minutes' else interval '0' end
  end;
  if at < over_at then
    return ('scheduled', first_start, last_end, over_at)::video_sessions_private.session_state;
  end if;
  -- The clock alone does not know what has happened: somebody must have heard of Zoom since then.
  if at < last_chance and (heard_at is null or heard_at < planned_end) then
    return ('scheduled', first_start, last_end, last_chance)::video_sessions_private.session_state;
  end if;
  return ('ended', first_start, coalesce(last_end, planned_end), null)::video_sessions_private.session_state;
end
$$;

-- Keeps what a person makes of a session, and writes its state into it: whoever changes it, and whatever they change.
create function video_sessions_private.settle_session() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  state video_sessions_private.session_state;
begin
  if new.status is null then
    raise exception using errcode = '23502', message = 'status must not be null.';
  end if;
  if tg_op = 'UPDATE' and new.status <> old.status then
    insert into video_sessions_private.session_life as life (session_id, closed_as, closed_at)
    values (new.id, nullif(new.status, 'scheduled'), case when new.status <> 'scheduled' then now() end)
    on conflict (session_id) do update set closed_as = excluded.closed_as, closed_at = excluded.closed_at;
  end if;
  state := video_sessions_private.state_of(new, now());
  new.status := state.status;
  new.started_at := state.started_at;
  new.ended_at := state.ended_at;
  if tg_op = 'UPDATE' then
    update video_sessions_private.session_life life set next_at = state.next_at
    where session_id = new.id and life.next_at is distinct from state.next_at;
  end if;
  return new;
end
$$;
-- After check_session, by its name.
create trigger settle_session before insert or update on public.video_sessions
for each row execute function video_sessions_private.settle_session();

create function video_sessions_private.begin_life() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  insert into video_sessions_private.session_life (session_id, next_at)
  values (new.id, (video_sessions_private.state_of(new, now())).next_at);
  return null;
end
$$;
create trigger begin_life after insert on public.video_sessions
for each row execute function video_sessions_private.begin_life();

-- A session that is over keeps no start URL, and nothing of it is told to Zoom any more but its end. After
-- tell_zoom_of_change, by its name: an update that became a deletion stays.
create function video_sessions_private.wind_up() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  delete from public.video_session_host_meta where session_id = new.id;
  delete from video_sessions_private.zoom_outbox where session_id = new.id and kind = 'update';
  return null;
end
$$;
create trigger wind_up after update on public.video_sessions
for each row when (old.status = 'scheduled' and new.status <> 'scheduled')
execute function video_sessions_private.wind_up();

-- Brings a session's state up to date after its facts have changed, or time has passed.
create function video_sessions_private.settle(target uuid) returns void
language plpgsql security definer set search_path = ''
as $$
declare
  session public.video_sessions;
  state video_sessions_private.session_state;
begin
  select * into session from public.video_sessions where id = target for no key update;
  if not found then
    return;
  end if;
  state := video_sessions_private.state_of(session, now());
  if (state.status, state.started_at, state.ended_at)
    is distinct from (session.status, session.started_at, session.ended_at)
  then
    -- The trigger writes the state.
    update public.video_sessions set updated_at = now() where id = target;
  else
    update video_sessions_private.session_life life set next_at = state.next_at
    where session_id = target and life.next_at is distinct from state.next_at;
  end if;
end
$$;

-- Whether a meeting goes on, as far as is known.
create function video_sessions_private.is_running(target uuid) returns boolean
language sql stable security definer set search_path = ''
as $$
  select coalesce((
    select ended_at is null and asked_end is null and seen_at is not null
    from video_sessions_private.meeting_instances where session_id = target
    order by coalesce(started_at, ended_at, asked_end) desc, ended_at desc nulls first, uuid desc limit 1
  ), false)
$$;

-- Whether only the clock has ended a session: it can still be moved, and for a day started.
create function video_sessions_private.only_the_clock_ended(target uuid) returns boolean
language sql stable security definer set search_path = ''
as $$
  select exists (
    select from public.video_sessions session
    join video_sessions_private.session_life life on life.session_id = session.id
    left join video_sessions_private.zoom_meetings meeting on meeting.session_id = session.id
    where session.id = target and session.status = 'ended' and life.closed_as is null and meeting.deleted_at is null
  )
$$;

-- Whether the host may start a session now.
create function video_sessions_private.is_startable(session public.video_sessions) returns boolean
language sql stable security definer set search_path = ''
as $$
  select session.status = 'scheduled' or (
    now() < session.scheduled_start + make_interval(mins => session.duration_minutes) + interval '24 hours'
    and video_sessions_private.only_the_clock_ended(session.id)
  )
$$;

-- Adds what is known of an instance: the earliest start, the latest end, the last time that it was seen to go on.
create function video_sessions_private.note_instance(
  target uuid, instance text, began timestamptz, ended timestamptz, seen timestamptz
) returns void
language sql security definer set search_path = ''
as $$
  insert into video_sessions_private.meeting_instances as known (session_id, uuid, started_at, ended_at, seen_at)
  values (target, instance, began, ended, seen)
  on conflict (session_id, uuid) do update set
    started_at = least(known.started_at, excluded.started_at),
    ended_at = greatest(known.ended_at, excluded.ended_at),
    seen_at = greatest(known.seen_at, excluded.seen_at),
    asked_end = case when known.asked_end >= excluded.seen_at is not false then known.asked_end end
$$;

-- What an answer of Zoom's said about a meeting: whether it goes on, and the uuid of the instance that does, or of the
-- next one. `asked_at`: when Zoom was asked. Answers may come in any order.
create function video_sessions_private.meeting_was_asked(target uuid, instance text, goes_on boolean,
asked_at timestamptz) returns void
language plpgsql security definer set search_path = ''
as $$
declare
  meeting video_sessions_private.zoom_meetings;
begin
  perform from public.video_sessions where id = target for no key update;
  select * into meeting from video_sessions_private.zoom_meetings where session_id = target for update;
  if not found then
    return;
  end if;
  if goes_on then
    perform video_sessions_private.note_instance(
      target, coalesce(instance, 'at ' || asked_at), asked_at, null, asked_at
    );
  else
    if meeting.uuid <> instance and meeting.uuid_at < asked_at then
      -- It was held meanwhile, though nobody told.
      perform video_sessions_private.note_instance(target, meeting.uuid, null, null, null);
    end if;
    update video_sessions_private.meeting_instances set asked_end = least(asked_end, meeting_was_asked.asked_at)
    where session_id = target and ended_at is null
      and coalesce(seen_at, started_at, '-infinity') <= meeting_was_asked.asked_at;
  end if;
  update video_sessions_private.zoom_meetings set
    heard_at = greatest(heard_at, meeting_was_asked.asked_at),
    uuid = case when uuid_at < meeting_was_asked.asked_at then coalesce(instance, uuid) else uuid end,
    uuid_at = greatest(uuid_at, meeting_was_asked.asked_at)
  where session_id = target;
  perform video_sessions_private.settle(target);
end
$$;

-- zoom-sync: what time alone changes in sessions, the longest due first. `more`: another call finds more.
create function public.edge_sessions_settle(max_rows integer) returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  due constant uuid[] := array(
    select session_id from video_sessions_private.session_life where next_at <= now() order by next_at limit max_rows
  );
  target uuid;
begin
  foreach target in array due loop
    perform from public.video_sessions where id = target for no key update skip locked;
    if found then
      perform video_sessions_private.settle(target);
    end if;
  end loop;
  return jsonb_build_object('settled', cardinality(due), 'more', cardinality(due) >= max_rows);
end
$$;
