-- What the app changes in sessions is told to Zoom: triggers write the outbox, zoom-sync sends it.
-- Locks are always taken in this order: session, zoom_meetings, zoom_outbox.

-- Puts a change on its way, or adds it to one that is on its way already. A wait that Zoom asked for stays.
create function private.enqueue(
  meeting_id text, session_id uuid, user_id uuid, zoom_user_id text, kind text
) returns void
language sql security definer set search_path = ''
as $$
  insert into private.zoom_outbox as task (meeting_id, session_id, user_id, zoom_user_id, kind)
  values (enqueue.meeting_id, enqueue.session_id, enqueue.user_id, enqueue.zoom_user_id, enqueue.kind)
  on conflict (meeting_id) do update set
    kind = case when task.kind = 'delete' then 'delete' else excluded.kind end,
    revision = task.revision + 1, attempts = 0, dead_at = null,
    next_attempt_at = case when task.last_code = 'rate_limit' then task.next_attempt_at else now() end
$$;

-- Whether Zoom would have to be told: what it holds differs from what the session says.
create function private.differs(session public.video_sessions, meeting private.zoom_meetings) returns boolean
language sql immutable set search_path = ''
as $$
  select (session.title, session.description, session.scheduled_start, session.timezone, session.duration_minutes)
    is distinct from (meeting.title, meeting.description, meeting.scheduled_start, meeting.timezone, meeting.duration_minutes)
$$;

create function private.tell_zoom_of_change() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  meeting private.zoom_meetings;
begin
  select * into meeting from private.zoom_meetings where session_id = new.id;
  if not found or meeting.deleted_at is not null then
    return null;
  end if;
  if new.status <> old.status and (
    new.status = 'cancelled'
    -- A session that the host ends before its meeting ever began leaves no open door at Zoom.
    or (new.status = 'ended' and meeting.ended_at is null and new.started_at is null)
  ) then
    perform private.enqueue(new.provider_meeting_id, new.id, new.host_id, meeting.zoom_user_id, 'delete');
  elsif new.status = 'scheduled' and private.differs(new, meeting) then
    perform private.enqueue(new.provider_meeting_id, new.id, new.host_id, meeting.zoom_user_id, 'update');
  end if;
  return null;
end
$$;
create trigger tell_zoom_of_change after update on public.video_sessions
for each row when (
  (old.title, old.description, old.scheduled_start, old.timezone, old.duration_minutes, old.status)
    is distinct from (new.title, new.description, new.scheduled_start, new.timezone, new.duration_minutes, new.status)
)
execute function private.tell_zoom_of_change();

-- Before the row goes, since what Zoom holds goes with it. A session that is over keeps its meeting, which is history there too,
-- unless the whole account goes.
create function private.tell_zoom_of_delete() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  meeting private.zoom_meetings;
begin
  select * into meeting from private.zoom_meetings where session_id = old.id;
  if found and meeting.deleted_at is null
    and (meeting.ended_at is null or not exists (select from auth.users where id = old.host_id))
  then
    perform private.enqueue(old.provider_meeting_id, old.id, old.host_id, meeting.zoom_user_id, 'delete');
  end if;
  return old;
end
$$;
create trigger tell_zoom_of_delete before delete on public.video_sessions
for each row execute function private.tell_zoom_of_delete();

-- Marks a meeting as gone at Zoom: there is nothing left to tell, and a session that was still to come is cancelled.
-- `known_from`: an event of Zoom's (`event`), or the answer to a question (`answer`), which is only believed together with a last
-- DELETE, so that a meeting is never left without its session.
create function private.meeting_is_gone(target uuid, gone_at timestamptz, known_from text) returns void
language plpgsql security definer set search_path = ''
as $$
declare
  session public.video_sessions;
  meeting private.zoom_meetings;
begin
  select * into session from public.video_sessions where id = target for no key update;
  if not found then
    return;
  end if;
  update private.zoom_meetings set deleted_at = coalesce(deleted_at, gone_at) where session_id = target returning * into meeting;
  delete from private.zoom_outbox where meeting_id = session.provider_meeting_id;
  delete from public.video_session_host_meta where session_id = target;
  update public.video_sessions set status = 'cancelled' where id = target and status = 'scheduled';
  if known_from = 'answer' then
    perform private.enqueue(session.provider_meeting_id, session.id, session.host_id, meeting.zoom_user_id, 'delete');
  end if;
end
$$;

-- Claims what is due for five minutes: longer than a drain works on what it has claimed. For one user (whose connection is about
-- to end) also what would be tried again later, once. A meeting belongs to the Zoom user that made it: while its host is
-- connected as another one, or not at all, its changes wait.
create function public.outbox_claim(holder uuid, max_rows integer, only_user uuid) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  task private.zoom_outbox;
  session public.video_sessions;
  meeting private.zoom_meetings;
  desired jsonb;
  tasks jsonb := '[]';
begin
  for task in
    select task.* from private.zoom_outbox task
    join public.user_integrations_zoom connection
      on connection.user_id = task.user_id and connection.status = 'connected'
      and connection.zoom_user_id = coalesce(task.zoom_user_id, connection.zoom_user_id)
      and (connection.cooldown_until is null or connection.cooldown_until <= now())
      and (connection.daily_limit_until is null or connection.daily_limit_until <= now() or task.kind = 'delete')
    where task.dead_at is null and (task.claimed_until is null or task.claimed_until <= now())
      and (outbox_claim.only_user is null or task.user_id = outbox_claim.only_user)
      and (
        task.next_attempt_at <= now()
        or outbox_claim.only_user is not null and task.claimed_by is distinct from outbox_claim.holder
      )
    order by task.next_attempt_at, task.id
    for update of task skip locked
  loop
    exit when jsonb_array_length(tasks) >= outbox_claim.max_rows;
    desired := null;
    if task.kind = 'update' then
      select * into session from public.video_sessions where id = task.session_id;
      select * into meeting from private.zoom_meetings where session_id = task.session_id;
      if session.id is null or session.status <> 'scheduled'
        or (task.claimed_desired is null and not private.differs(session, meeting))
      then
        -- Changed back before anything was sent, or overtaken by what happened in Zoom: there is nothing to tell.
        delete from private.zoom_outbox where id = task.id;
        continue;
      end if;
      desired := jsonb_build_object(
        'title', session.title, 'description', session.description, 'scheduled_start', session.scheduled_start,
        'timezone', session.timezone, 'duration_minutes', session.duration_minutes, 'creation_id', session.id
      );
    end if;
    update private.zoom_outbox set
      claimed_by = outbox_claim.holder, claimed_at = now(), claimed_until = now() + interval '5 minutes',
      claimed_revision = revision, claimed_desired = desired
    where id = task.id;
    tasks := tasks || jsonb_strip_nulls(jsonb_build_object(
      'task_id', task.id, 'user_id', task.user_id, 'meeting_id', task.meeting_id, 'kind', task.kind,
      'desired', desired, 'token', private.peek_token(task.user_id)
    ));
  end loop;
  return jsonb_build_object('tasks', tasks);
end
$$;

-- Gives back what was claimed and not begun.
create function public.outbox_release(holder uuid) returns jsonb
language sql security definer set search_path = ''
as $$
  with released as (
    update private.zoom_outbox set claimed_by = null, claimed_until = null
    where claimed_by = holder and claimed_until > now() returning 1
  )
  select jsonb_build_object('released', count(*)) from released
$$;

-- What became of a claimed change: `done`; `gone`, the meeting does not exist any more; `retry`. Zoom's own waits (rate limits,
-- a connection that has to be mended first) do not count as tries.
create function public.outbox_settle(task_id bigint, holder uuid, result text, code text, retry_after_seconds bigint) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  max_attempts constant integer := 12;
  task private.zoom_outbox;
  session public.video_sessions;
  meeting private.zoom_meetings;
  result text := outbox_settle.result;
  code text := outbox_settle.code;
  waits_for_zoom boolean;
  wait interval;
begin
  select * into session from public.video_sessions
  where id = (select session_id from private.zoom_outbox where id = outbox_settle.task_id) for no key update;
  select * into task from private.zoom_outbox where id = outbox_settle.task_id for update;
  if not found or task.claimed_by is distinct from outbox_settle.holder or task.claimed_until is null then
    return '{"outcome": "superseded"}';
  end if;
  if code = 'meeting_gone' and exists (
    select from public.user_integrations_zoom
    where user_id = task.user_id and zoom_user_id <> task.zoom_user_id
  ) then
    -- Another Zoom user was connected while this was sent: that one knows nothing of the meeting.
    result := 'retry';
    code := 'zoom_other_account';
  end if;

  if result = 'gone' then
    perform private.meeting_is_gone(task.session_id, now(), 'answer');
    update private.zoom_outbox set claimed_until = null, next_attempt_at = now() where id = task.id;
    return '{"outcome": "gone"}';
  end if;

  if result = 'done' then
    if task.claimed_desired is null then
      -- A session that is still there, unless this was one meeting too many.
      if session.provider_meeting_id = task.meeting_id then
        update private.zoom_meetings set deleted_at = coalesce(deleted_at, now()) where session_id = session.id;
        delete from public.video_session_host_meta where session_id = session.id;
      end if;
    else
      -- Events from before this was sent are older than what Zoom holds now. One from after that may be newer: it stays.
      update private.zoom_meetings set
        description = task.claimed_desired ->> 'description',
        title = case when title_at > task.claimed_at then title else task.claimed_desired ->> 'title' end,
        scheduled_start = case
          when scheduled_start_at > task.claimed_at then scheduled_start
          else (task.claimed_desired ->> 'scheduled_start')::timestamptz
        end,
        timezone = case when timezone_at > task.claimed_at then timezone else task.claimed_desired ->> 'timezone' end,
        duration_minutes = case
          when duration_minutes_at > task.claimed_at then duration_minutes
          else (task.claimed_desired ->> 'duration_minutes')::integer
        end,
        title_at = greatest(title_at, task.claimed_at),
        scheduled_start_at = greatest(scheduled_start_at, task.claimed_at),
        timezone_at = greatest(timezone_at, task.claimed_at),
        duration_minutes_at = greatest(duration_minutes_at, task.claimed_at)
      where session_id = task.session_id
      returning * into meeting;
    end if;
    if task.revision = task.claimed_revision
      and (task.kind = 'delete' or session.status is distinct from 'scheduled' or not private.differs(session, meeting))
    then
      delete from private.zoom_outbox where id = task.id;
    else
      -- Changed again while this was sent.
      update private.zoom_outbox set
        claimed_until = null, claimed_desired = null, attempts = 0, last_code = null, next_attempt_at = now()
      where id = task.id;
    end if;
    return '{"outcome": "done"}';
  end if;

  waits_for_zoom := code in (
    'rate_limit', 'daily_limit', 'no_token', 'zoom_not_connected', 'zoom_expired', 'zoom_other_account', 'missing_scope',
    'misconfigured'
  );
  wait := case
    when outbox_settle.retry_after_seconds is not null
      then make_interval(secs => least(outbox_settle.retry_after_seconds, 90000)) + random() * interval '5 seconds'
    -- 15 s, 30 s, … up to an hour, and somewhere between half of that and all of it.
    else least(interval '1 hour', interval '15 seconds' * power(2, least(task.attempts, 10))) * (0.5 + random() / 2)
  end;
  update private.zoom_outbox set
    claimed_until = null, last_code = code,
    attempts = attempts + case when waits_for_zoom then 0 else 1 end,
    dead_at = case when not waits_for_zoom and attempts + 1 >= max_attempts then now() end,
    next_attempt_at = now() + wait
  where id = task.id;
  if code = 'daily_limit' then
    -- The limit is the host's: trying other changes now would only be refused as well. Deletions are not counted.
    update public.user_integrations_zoom set daily_limit_until = now() + wait where user_id = task.user_id;
  end if;
  return '{"outcome": "postponed"}';
end
$$;

-- For an operator: changes that were given up, and another try for one of them or (null) for all.
create function public.outbox_dead_letters() returns jsonb
language sql stable security definer set search_path = ''
as $$
  select coalesce(jsonb_agg(jsonb_build_object(
    'task_id', id, 'session_id', session_id, 'user_id', user_id, 'meeting_id', meeting_id, 'kind', kind,
    'attempts', attempts, 'last_code', last_code, 'dead_at', dead_at, 'created_at', created_at
  ) order by dead_at), '[]')
  from private.zoom_outbox where dead_at is not null
$$;
create function public.outbox_retry(task_id bigint default null) returns jsonb
language sql security definer set search_path = ''
as $$
  with retried as (
    update private.zoom_outbox set dead_at = null, attempts = 0, next_attempt_at = now()
    where dead_at is not null and (outbox_retry.task_id is null or id = outbox_retry.task_id) returning 1
  )
  select jsonb_build_object('retried', count(*)) from retried
$$;

revoke execute on function
  private.enqueue, private.differs, private.tell_zoom_of_change, private.tell_zoom_of_delete, private.meeting_is_gone,
  public.outbox_claim, public.outbox_release, public.outbox_settle, public.outbox_dead_letters, public.outbox_retry
from public, anon, authenticated, service_role;
grant execute on function
  public.outbox_claim, public.outbox_release, public.outbox_settle, public.outbox_dead_letters, public.outbox_retry
to service_role;
