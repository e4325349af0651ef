-- The watch: what events would have said, by asking. Without any event from Zoom the same end is reached, later. A
-- session is asked about around its planned start and end and while it runs over, where events have not said so
-- already; each host's list of meetings is looked through twice a day for what was moved, renamed or deleted.

-- When Zoom is asked about a session next.
create table video_sessions_private.watched_sessions (
  session_id uuid primary key references public.video_sessions (id) on delete cascade,
  ask_at timestamptz,
  urgent_at timestamptz,
  asked_at timestamptz,
  failures integer not null default 0
);
create index watched_sessions_ask_at_idx on video_sessions_private.watched_sessions (ask_at) where ask_at is not null;
comment on column video_sessions_private.watched_sessions.urgent_at is
  'Something that happened then has to be asked about, whatever the plan says.';
comment on column video_sessions_private.watched_sessions.asked_at is 'When Zoom was last asked, and answered.';
comment on column video_sessions_private.watched_sessions.failures is 'Questions since then that had no answer.';

-- When a host's list is looked through next. Hosts without sessions to come, cancelled ones included, have no row: what
-- was cancelled may be recovered in Zoom.
create table video_sessions_private.watched_hosts (
  user_id uuid primary key references auth.users (id) on delete cascade,
  list_at timestamptz not null
);
create index watched_hosts_list_at_idx on video_sessions_private.watched_hosts (list_at);

-- When to ask Zoom about a session next, which may have passed. Null: there is nothing to ask.
create function video_sessions_private.next_question(session public.video_sessions) returns timestamptz
language plpgsql stable security definer set search_path = ''
as $$
declare
  start_is_due constant timestamptz := session.scheduled_start + interval '10 minutes';
  planned_end constant timestamptz := session.scheduled_start + make_interval(mins => session.duration_minutes);
  end_is_due constant timestamptz := planned_end + interval '10 minutes';
  -- An hour after its end a session that nobody held is over.
  last_look constant timestamptz := planned_end + interval '55 minutes';
  asked timestamptz;
  heard timestamptz;
begin
  if session.provider <> 'zoom' or session.status <> 'scheduled' or now() > planned_end + interval '24 hours' then
    return null;
  end if;
  select coalesce(asked_at, '-infinity') into asked
  from video_sessions_private.watched_sessions where session_id = session.id;
  asked := coalesce(asked, '-infinity');
  select heard_at into heard from video_sessions_private.zoom_meetings where session_id = session.id;
  case
    -- It goes on.
    when session.started_at is not null and session.ended_at is null then
      return greatest(end_is_due, asked + interval '30 minutes');
    -- It was held, and may go on again.
    when session.ended_at is not null then
      return case when asked < end_is_due and (heard is null or heard < planned_end) then end_is_due end;
    when asked < start_is_due then return start_is_due;
    when asked < end_is_due then return end_is_due;
    when asked < last_look then return last_look;
    else return null;
  end case;
end
$$;

create function video_sessions_private.watch_session() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  insert into video_sessions_private.watched_sessions as watched (session_id, ask_at)
  values (new.id, video_sessions_private.next_question(new))
  on conflict (session_id) do update set ask_at = least(
    excluded.ask_at, case when watched.urgent_at is not null then watched.ask_at end
  );
  if new.status = 'scheduled' then
    insert into video_sessions_private.watched_hosts (user_id, list_at)
    values (new.host_id, now() + random() * interval '12 hours')
    on conflict (user_id) do nothing;
  end if;
  return null;
end
$$;
create trigger watch_new_session after insert on public.video_sessions
for each row when (new.provider = 'zoom')
execute function video_sessions_private.watch_session();
create trigger watch_session after update on public.video_sessions
for each row when (
  new.provider = 'zoom' and (
    (old.scheduled_start, old.duration_minutes, old.status, old.started_at, old.ended_at)
      is distinct from (new.scheduled_start, new.duration_minutes, new.status, new.started_at, new.ended_at)
  )
)
execute function video_sessions_private.watch_session();

-- Whether Zoom's answer can change anything: it may know better of a meeting that it deleted.
create function video_sessions_private.is_worth_asking(session public.video_sessions) returns boolean
language sql stable security definer set search_path = ''
as $$
  select video_sessions_private.is_startable(session) or exists (
    select from video_sessions_private.zoom_meetings where session_id = session.id and deleted_at is not null
  )
$$;

-- Something happened in Zoom that only Zoom's answer explains.
create function video_sessions_private.ask_soon(target uuid) returns void
language sql security definer set search_path = ''
as $$
  insert into video_sessions_private.watched_sessions (session_id, ask_at, urgent_at)
  select v.id, now(), now() from public.video_sessions v
  where v.id = target and v.provider = 'zoom' and video_sessions_private.is_worth_asking(v)
  on conflict (session_id) do update set ask_at = excluded.ask_at, urgent_at = excluded.urgent_at
$$;

-- zoom-sync: claims questions and lists that are due, for three minutes. What cannot be asked because its host is not
-- connected, or as another Zoom user, is put off. `more`: another claim may find more.
create function public.edge_watch_claim(max_questions integer, max_lists integer) returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  lease constant interval := '3 minutes';
  candidates constant uuid[] := array(
    select session_id from video_sessions_private.watched_sessions
    where ask_at <= now() order by ask_at limit max_questions
  );
  hosts constant uuid[] := array(
    select user_id from video_sessions_private.watched_hosts where list_at <= now() order by list_at limit max_lists
  );
  candidate uuid;
  watched video_sessions_private.watched_sessions;
  session public.video_sessions;
  meeting video_sessions_private.zoom_meetings;
  connection public.user_integrations_zoom;
  due_at timestamptz;
  questions jsonb := '[]';
  lists jsonb := '[]';
begin
  foreach candidate in array candidates loop
    select * into watched from video_sessions_private.watched_sessions
    where session_id = candidate and ask_at <= now() for update skip locked;
    continue when not found;
    select * into session from public.video_sessions where id = candidate;
    select * into meeting from video_sessions_private.zoom_meetings where session_id = candidate;
    select * into connection from public.user_integrations_zoom where user_id = session.host_id;
    due_at := case
      when meeting.session_id is null then null
      when watched.urgent_at is not null and video_sessions_private.is_worth_asking(session) then watched.urgent_at
      when meeting.deleted_at is not null then null
      else video_sessions_private.next_question(session)
    end;
    if due_at <= now() then
      case
        when connection.status is distinct from 'connected' or connection.zoom_user_id <> meeting.zoom_user_id then
          due_at := now() + interval '30 minutes';
        when connection.cooldown_until > now() then
          due_at := connection.cooldown_until;
        else
          due_at := now() + lease;
          questions := questions || jsonb_build_object(
            'session_id', session.id, 'user_id', session.host_id, 'meeting_id', session.provider_meeting_id,
            'zoom_user_id', connection.zoom_user_id, 'token', video_sessions_private.peek_token(session.host_id)
          );
      end case;
    end if;
    update video_sessions_private.watched_sessions set ask_at = due_at where session_id = candidate;
  end loop;

  foreach candidate in array hosts loop
    perform from video_sessions_private.watched_hosts
    where user_id = candidate and list_at <= now() for update skip locked;
    continue when not found;
    if not exists (
      select from public.video_sessions v
      where v.host_id = candidate and v.provider = 'zoom' and v.scheduled_start > now() - interval '1 day'
    ) then
      delete from video_sessions_private.watched_hosts where user_id = candidate;
      continue;
    end if;
    select * into connection from public.user_integrations_zoom where user_id = candidate;
    if connection.status = 'connected'
      and (connection.cooldown_until is null or connection.cooldown_until <= now())
    then
      lists := lists || jsonb_build_object(
        'user_id', candidate, 'zoom_user_id', connection.zoom_user_id,
        'token', video_sessions_private.peek_token(candidate)
      );
    end if;
    update video_sessions_private.watched_hosts set
      list_at = now() + case when connection.status = 'connected' then interval '15 minutes' else interval '6 hours' end
    where user_id = candidate;
  end loop;
  return jsonb_build_object(
    'questions', questions, 'lists', lists, 'asked_at', now(),
    'more', cardinality(candidates) >= max_questions or cardinality(hosts) >= max_lists
  );
end
$$;

-- What a meeting was called, and when it was, at the time of asking: as an event of that time would say.
create function video_sessions_private.follow_details(target uuid, seen jsonb, asked_at timestamptz) returns void
language plpgsql security definer set search_path = ''
as $$
declare
  held video_sessions_private.zoom_meetings;
begin
  select * into held from video_sessions_private.zoom_meetings where session_id = target;
  if (held.title, held.scheduled_start, held.duration_minutes) is distinct from (
    coalesce(seen ->> 'topic', held.title), coalesce((seen ->> 'start_time')::timestamptz, held.scheduled_start),
    coalesce((seen ->> 'duration')::bigint, held.duration_minutes)
  ) or held.timezone is distinct from coalesce(seen ->> 'timezone', held.timezone) then
    perform video_sessions_private.apply_meeting_event(
      target, 'meeting.updated', asked_at, seen - '{uuid,status,id}'::text[]
    );
  end if;
end
$$;

-- A session whose Zoom user nobody knows is the connected one's, who has its meeting.
create function video_sessions_private.bind_meeting(target uuid, connection public.user_integrations_zoom) returns void
language sql security definer set search_path = ''
as $$
  update video_sessions_private.zoom_meetings set
    zoom_user_id = connection.zoom_user_id, zoom_account_id = connection.zoom_account_id
  where session_id = target and zoom_user_id is null
$$;

-- zoom-sync: what Zoom answered to a question, or that it did not. `answer`: `{outcome: found, meeting}`; `gone`, by
-- Zoom's 404; `no_meeting`, it is no meeting any more; `failed`, with `retry_after_seconds` where Zoom named them.
create function public.edge_watch_save(session_id uuid, zoom_user_id text, asked_at timestamptz, answer jsonb)
returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  target constant uuid := edge_watch_save.session_id;
  asked constant timestamptz := edge_watch_save.asked_at;
  found_meeting constant jsonb := edge_watch_save.answer -> 'meeting';
  outcome text := edge_watch_save.answer ->> 'outcome';
  seconds constant bigint := (edge_watch_save.answer ->> 'retry_after_seconds')::bigint;
  wait interval := case when seconds is not null then make_interval(secs => least(seconds, 90000)) end;
  session public.video_sessions;
  meeting video_sessions_private.zoom_meetings;
  connection public.user_integrations_zoom;
begin
  select * into session from public.video_sessions where id = target for no key update;
  select * into meeting from video_sessions_private.zoom_meetings where session_id = target for update;
  select * into connection from public.user_integrations_zoom where user_id = session.host_id;
  if meeting.session_id is null then
    return '{"outcome": "superseded"}';
  end if;
  if outcome <> 'failed' and (
    connection.zoom_user_id is distinct from edge_watch_save.zoom_user_id
    -- A 404 counts only where the meeting is known to be this Zoom user's.
    or outcome = 'gone' and meeting.zoom_user_id is distinct from edge_watch_save.zoom_user_id
  ) then
    outcome := 'failed';
    wait := interval '6 hours';
  end if;
  case outcome
    when 'found' then
      perform video_sessions_private.bind_meeting(target, connection);
      if meeting.deleted_at < asked then
        perform video_sessions_private.apply_meeting_event(target, 'meeting.recovered', asked, '{}');
      end if;
      perform video_sessions_private.follow_details(target, found_meeting, asked);
      perform video_sessions_private.follow_link(target, found_meeting);
      perform video_sessions_private.meeting_was_asked(
        target, found_meeting ->> 'uuid', found_meeting ->> 'status' = 'started', asked
      );
    when 'gone' then
      perform video_sessions_private.meeting_is_gone(target, asked, 'answer');
    when 'no_meeting' then
      perform video_sessions_private.meeting_was_asked(target, null, false, asked);
    else
      update video_sessions_private.watched_sessions set
        failures = failures + 1,
        ask_at = now() + coalesce(wait, least(interval '1 hour', interval '5 minutes' * power(2, least(failures, 10))))
      where session_id = target;
      return '{"outcome": "postponed"}';
  end case;
  update video_sessions_private.watched_sessions set
    failures = 0, asked_at = greatest(asked_at, asked),
    urgent_at = case when urgent_at > asked then urgent_at end
  where session_id = target;
  select * into session from public.video_sessions where id = target;
  update video_sessions_private.watched_sessions set
    ask_at = case
      when urgent_at is not null then urgent_at else video_sessions_private.next_question(session)
    end
  where session_id = target;
  return jsonb_build_object('outcome', outcome);
end
$$;

-- zoom-sync: a host's list of meetings, or as much of it as was read. What is missing from a whole list is asked for by
-- itself before anything is believed, and so is one that was deleted; a meeting that this database knows nothing of is
-- left alone.
create function public.edge_watch_save_list(
  user_id uuid, zoom_user_id text, asked_at timestamptz, meetings jsonb, is_whole boolean
) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  connection public.user_integrations_zoom;
  row record;
  followed integer := 0;
  missing integer := 0;
begin
  select * into connection from public.user_integrations_zoom where user_id = edge_watch_save_list.user_id;
  if connection.zoom_user_id is distinct from edge_watch_save_list.zoom_user_id then
    return '{"followed": 0, "missing": 0}';
  end if;
  for row in
    select v.id, held.zoom_user_id is null as is_unbound, held.deleted_at, listed.meeting
    from public.video_sessions v
    join video_sessions_private.zoom_meetings held on held.session_id = v.id
    left join (
      select meeting ->> 'id' as id, meeting
      from jsonb_array_elements(edge_watch_save_list.meetings) as meeting
    ) as listed on listed.id = v.provider_meeting_id
    where v.host_id = edge_watch_save_list.user_id and v.provider = 'zoom'
      and v.scheduled_start > now() - interval '30 days'
      and (held.deleted_at is null or listed.meeting is not null and held.deleted_at < edge_watch_save_list.asked_at)
      and coalesce(held.zoom_user_id, edge_watch_save_list.zoom_user_id) = edge_watch_save_list.zoom_user_id
      and (v.status = 'scheduled' or listed.meeting is not null)
      and v.created_at < edge_watch_save_list.asked_at
    order by v.id
  loop
    -- Recovered, it seems.
    if row.deleted_at is not null then
      perform video_sessions_private.ask_soon(row.id);
      continue;
    end if;
    if row.meeting is null then
      if edge_watch_save_list.is_whole then
        perform video_sessions_private.ask_soon(row.id);
        missing := missing + 1;
      end if;
      continue;
    end if;
    -- What somebody else is changing now is asked for by itself.
    perform from public.video_sessions where id = row.id for no key update skip locked;
    if not found then
      perform video_sessions_private.ask_soon(row.id);
      continue;
    end if;
    if row.is_unbound then
      perform video_sessions_private.bind_meeting(row.id, connection);
    end if;
    perform video_sessions_private.follow_details(row.id, row.meeting, edge_watch_save_list.asked_at);
    followed := followed + 1;
  end loop;
  update video_sessions_private.watched_hosts set
    list_at = now() + interval '12 hours' + random() * interval '20 minutes'
  where user_id = edge_watch_save_list.user_id;
  return jsonb_build_object('followed', followed, 'missing', missing);
end
$$;

-- For an operator, after an outage of webhooks or when a backup was restored: everything is looked at now.
create function public.edge_watch_all() returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  sessions integer;
  hosts integer;
begin
  update video_sessions_private.watched_sessions watched set ask_at = now(), urgent_at = now()
  from public.video_sessions v
  where v.id = watched.session_id
    and v.scheduled_start between now() - interval '50 hours' and now() + interval '10 minutes'
    and video_sessions_private.is_startable(v);
  get diagnostics sessions = row_count;
  insert into video_sessions_private.watched_hosts (user_id, list_at)
  select distinct host_id, now() from public.video_sessions
  where provider = 'zoom' and scheduled_start > now() - interval '1 day'
  on conflict (user_id) do update set list_at = now();
  get diagnostics hosts = row_count;
  return jsonb_build_object('sessions', sessions, 'hosts', hosts);
end
$$;
