-- What the app changes in sessions is told to Zoom: triggers write the outbox, zoom-sync sends it.
-- Locks are always taken in this order: session, zoom_meetings, zoom_outbox.

-- What Zoom is known to hold of a session's meeting: the difference to the session is what Zoom has to be told.
create table video_sessions_private.zoom_meetings (
  session_id uuid primary key references public.video_sessions (id) on delete cascade,
  zoom_user_id text,
  title text not null,
  description text not null,
  scheduled_start timestamptz not null,
  -- As Zoom calls it. Null until Zoom has said which one it took.
  timezone text,
  duration_minutes integer not null,
  title_at timestamptz not null default '-infinity',
  scheduled_start_at timestamptz not null default '-infinity',
  timezone_at timestamptz not null default '-infinity',
  duration_minutes_at timestamptz not null default '-infinity',
  deleted_at timestamptz,
  recovered_at timestamptz,
  zoom_account_id text,
  uuid text,
  uuid_at timestamptz not null default '-infinity',
  heard_at timestamptz
);
comment on table video_sessions_private.zoom_meetings is
  'What Zoom holds. The columns *_at say as of when: an older event changes nothing.';
comment on column video_sessions_private.zoom_meetings.deleted_at is
  'When it was deleted, unless it was recovered later (recovered_at).';
comment on column video_sessions_private.zoom_meetings.uuid is
  'Of the instance that goes on, or of the next one, when Zoom last said (uuid_at).';
comment on column video_sessions_private.zoom_meetings.heard_at is
  'When Zoom last told or answered something about this meeting.';

-- Changes on their way to Zoom: one row a meeting at most, however often the app changes its session.
create table video_sessions_private.zoom_outbox (
  id bigint generated always as identity primary key,
  meeting_id text not null unique,
  session_id uuid not null,
  user_id uuid not null,
  zoom_user_id text,
  kind text not null check (kind in ('update', 'delete', 'end')),
  revision bigint not null default 1,
  attempts integer not null default 0,
  last_code text check (last_code in (
    -- It waits for something, and that is no try.
    'turn', 'not_connected', 'other_account', 'cooling_down', 'daily_limit', 'rate_limit', 'no_token', 'misconfigured',
    'meeting_running',
    -- A try that failed.
    'unclear', 'refused', 'cannot_host', 'internal'
  )),
  next_attempt_at timestamptz not null default now(),
  claimed_by uuid,
  claimed_account text,
  claimed_until timestamptz,
  claimed_at timestamptz,
  claimed_revision bigint,
  claimed_desired jsonb,
  dead_at timestamptz,
  created_at timestamptz not null default now()
);
-- What is claimed is not due before the claim has run out: no claim reads what another holds.
create index zoom_outbox_due_idx on video_sessions_private.zoom_outbox (greatest(next_attempt_at, claimed_until))
where dead_at is null;
create index zoom_outbox_user_id_idx on video_sessions_private.zoom_outbox (user_id, next_attempt_at);
create index zoom_outbox_turn_idx on video_sessions_private.zoom_outbox (user_id, next_attempt_at)
where last_code = 'turn';
create index zoom_outbox_claimed_idx on video_sessions_private.zoom_outbox (claimed_account)
where claimed_until is not null;
create index zoom_outbox_dead_at_idx on video_sessions_private.zoom_outbox (dead_at) where dead_at is not null;
create index zoom_outbox_created_at_idx on video_sessions_private.zoom_outbox (created_at);
create index zoom_outbox_session_id_idx on video_sessions_private.zoom_outbox (session_id);
comment on column video_sessions_private.zoom_outbox.revision is
  'Counts the changes: one that came while an earlier was being sent is sent next.';
comment on column video_sessions_private.zoom_outbox.claimed_desired is
  'What was sent last, until it is known that Zoom holds it.';
comment on column video_sessions_private.zoom_outbox.last_code is
  'Why it has not been sent yet. turn: as many of its Zoom account''s as may be are being sent.';
comment on column video_sessions_private.zoom_outbox.claimed_account is
  'The Zoom account that a claimed change is sent to: two at a time.';
comment on column video_sessions_private.zoom_outbox.dead_at is
  'Given up after 12 tries; see edge_outbox_dead_letters() and edge_outbox_retry().';

-- Puts a change on its way, or adds it to one that is on its way already. What that one waits for stays, but a deletion
-- is not counted among Zoom's changes a day, and what was tried in vain is tried again at once.
create function video_sessions_private.enqueue(
  meeting_id text, session_id uuid, user_id uuid, zoom_user_id text, kind text
) returns void
language sql security definer set search_path = ''
as $$
  insert into video_sessions_private.zoom_outbox as task (meeting_id, session_id, user_id, zoom_user_id, kind)
  values (enqueue.meeting_id, enqueue.session_id, enqueue.user_id, enqueue.zoom_user_id, enqueue.kind)
  on conflict (meeting_id) do update set
    kind = case
      when 'delete' in (task.kind, excluded.kind) then 'delete'
      when 'end' in (task.kind, excluded.kind) then 'end'
      else excluded.kind
    end,
    revision = task.revision + 1, attempts = 0, dead_at = null,
    next_attempt_at = case
      when task.last_code in ('turn', 'not_connected', 'other_account', 'cooling_down', 'rate_limit')
        or task.last_code = 'daily_limit' and excluded.kind = 'update'
        then task.next_attempt_at
      else now()
    end
$$;

-- In PL/pgSQL, since SQL would be planned anew for every row.
-- Which details Zoom would have to be told: those in which it differs from the session. Zoom is told a time zone of its
-- own; zones with the same rules do not differ. A start in the past it would ignore.
create function video_sessions_private.untold(session public.video_sessions,
meeting video_sessions_private.zoom_meetings) returns jsonb
language plpgsql stable set search_path = ''
as $$
begin
  return jsonb_strip_nulls(jsonb_build_object(
    'title', nullif(session.title, meeting.title),
    'description', nullif(session.description, meeting.description),
    'scheduled_start', case when session.scheduled_start > now()
      then nullif(session.scheduled_start, meeting.scheduled_start) end,
    'timezone', case
      when session.timezone is distinct from meeting.timezone
        and not video_sessions_private.same_zone(session.timezone, coalesce(meeting.timezone, ''))
        then video_sessions_private.zoom_zone(session.timezone)
    end,
    'duration_minutes', nullif(session.duration_minutes, meeting.duration_minutes)
  ));
end
$$;

-- Whether Zoom would have to be told anything.
create function video_sessions_private.differs(session public.video_sessions,
meeting video_sessions_private.zoom_meetings) returns boolean
language sql stable set search_path = ''
as $$ select video_sessions_private.untold(session, meeting) <> '{}' $$;

-- Whether a session's meeting has no reason to exist: a person cancelled it, or ended it before it was ever held, which
-- must leave no open door at Zoom.
create function video_sessions_private.is_unwanted(session public.video_sessions) returns boolean
language plpgsql stable security definer set search_path = ''
as $$
begin
  return exists (
    select from video_sessions_private.session_life
    where session_id = session.id and (closed_as = 'cancelled' or closed_as = 'ended' and session.started_at is null)
  );
end
$$;

-- Whether a host has granted what is needed to end a meeting that goes on.
create function video_sessions_private.may_end(host uuid) returns boolean
language plpgsql stable security definer set search_path = ''
as $$
begin
  return exists (
    select from public.user_integrations_zoom
    where user_id = host and string_to_array(scope, ' ') && array['meeting:update:status', 'meeting:write']
  );
end
$$;

create function video_sessions_private.tell_zoom_of_change() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  meeting video_sessions_private.zoom_meetings;
  kind text;
begin
  select * into meeting from video_sessions_private.zoom_meetings where session_id = new.id;
  if not found or meeting.deleted_at is not null then
    return null;
  end if;
  -- Also where it is told late that it was never held.
  if (new.status, new.started_at) is distinct from (old.status, old.started_at)
    and video_sessions_private.is_unwanted(new)
  then
    kind := 'delete';
  elsif new.status <> old.status and exists (
    select from video_sessions_private.session_life where session_id = new.id and closed_as = 'ended'
  ) then
    -- The host ends a session that was held. Its meeting may go on, though Zoom has not told: it is ended as well.
    -- Where we may not end it, it is deleted when it is over.
    kind := case
      when video_sessions_private.may_end(new.host_id) and now() < new.scheduled_start
        + make_interval(mins => new.duration_minutes) + interval '24 hours'
        then 'end'
      when video_sessions_private.is_running(new.id) then 'delete'
    end;
  elsif new.status = 'scheduled' and (
    video_sessions_private.differs(new, meeting)
    -- Changed back while the change is being sent: Zoom will hold it in a moment.
    or video_sessions_private.is_app() and exists (
      select from video_sessions_private.zoom_outbox task
      where task.meeting_id = new.provider_meeting_id and task.kind = 'update'
    )
  ) then
    kind := 'update';
  end if;
  if kind is not null then
    perform video_sessions_private.enqueue(
      new.provider_meeting_id, new.id, new.host_id, meeting.zoom_user_id, kind
    );
  end if;
  return null;
end
$$;
create trigger tell_zoom_of_change after update on public.video_sessions
for each row when (
  (
    old.title, old.description, old.scheduled_start, old.timezone, old.duration_minutes, old.status, old.started_at
  ) is distinct from (
    new.title, new.description, new.scheduled_start, new.timezone, new.duration_minutes, new.status, new.started_at
  )
)
execute function video_sessions_private.tell_zoom_of_change();

-- Before the row goes, since what Zoom holds goes with it. A session that was held keeps its meeting, which is history
-- there too, unless the whole account goes.
create function video_sessions_private.tell_zoom_of_delete() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  meeting video_sessions_private.zoom_meetings;
begin
  select * into meeting from video_sessions_private.zoom_meetings where session_id = old.id;
  if found and meeting.deleted_at is null
    and (
      old.started_at is null or video_sessions_private.is_running(old.id)
      or not exists (select from auth.users where id = old.host_id)
    )
  then
    perform video_sessions_private.enqueue(
      old.provider_meeting_id, old.id, old.host_id, meeting.zoom_user_id, 'delete'
    );
  end if;
  return old;
end
$$;
create trigger tell_zoom_of_delete before delete on public.video_sessions
for each row execute function video_sessions_private.tell_zoom_of_delete();

-- Marks a meeting as gone at Zoom: there is nothing left to tell, and a session that was still to come is cancelled.
-- `known_from`: an event of Zoom's (`event`), or the answer to a question (`answer`), which is only believed together
-- with a last DELETE, so that a meeting is never left without its session.
create function video_sessions_private.meeting_is_gone(target uuid, gone_at timestamptz, known_from text) returns void
language plpgsql security definer set search_path = ''
as $$
declare
  session public.video_sessions;
  meeting video_sessions_private.zoom_meetings;
begin
  select * into session from public.video_sessions where id = target for no key update;
  if not found then
    return;
  end if;
  update video_sessions_private.zoom_meetings set deleted_at = greatest(deleted_at, gone_at)
  where session_id = target and (recovered_at is null or recovered_at < gone_at) returning * into meeting;
  if not found then
    return;
  end if;
  delete from video_sessions_private.zoom_outbox where meeting_id = session.provider_meeting_id;
  delete from public.video_session_host_meta where session_id = target;
  perform video_sessions_private.settle(target);
  if known_from = 'answer' then
    perform video_sessions_private.enqueue(
      session.provider_meeting_id, session.id, session.host_id, meeting.zoom_user_id, 'delete'
    );
  end if;
end
$$;

-- A connection that can be used again brings back what was put off for it. What somebody else has locked is being
-- looked at in this moment: it is left to them, since whoever holds a change may be waiting for the connection.
create function video_sessions_private.connection_is_back() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  update video_sessions_private.zoom_outbox set next_attempt_at = now(), last_code = null
  where id in (
    select id from video_sessions_private.zoom_outbox
    where user_id = new.user_id and next_attempt_at > now() and dead_at is null
      and last_code in ('not_connected', 'other_account', 'cooling_down', 'daily_limit')
    for update skip locked
  );
  update video_sessions_private.session_creations set next_check_at = now()
  where id in (
    select id from video_sessions_private.session_creations
    where user_id = new.user_id and state in ('running', 'unknown') and put_off
    for update skip locked
  );
  return null;
end
$$;
create trigger connection_is_made after insert on public.user_integrations_zoom
for each row execute function video_sessions_private.connection_is_back();
create trigger connection_is_back after update on public.user_integrations_zoom
for each row when (
  new.status = 'connected' and (
    old.status <> 'connected' or old.zoom_user_id <> new.zoom_user_id
    or coalesce(new.cooldown_until, '-infinity') < coalesce(old.cooldown_until, '-infinity')
    or coalesce(new.daily_limit_until, '-infinity') < coalesce(old.daily_limit_until, '-infinity')
  )
)
execute function video_sessions_private.connection_is_back();

-- Claims what is due for five minutes: much longer than it takes to send one change. Of each Zoom account two changes
-- are being sent at a time, whoever sends them; what has to wait for its turn queues behind its host's others. A
-- meeting belongs to the Zoom user that made it: while its host is connected as another one, or not at all, its changes
-- wait.
--
-- What is found blocked is put off, so that it does not stand in front of what can be sent: for as long as the
-- connection says, or where nobody knows how long, for half of its age, a minute at least and six hours at most.
-- `connection_is_back` brings it back before that.
--
-- `only_user`: of one user alone; what waits for its turn, too. With `scope` `everything` (the connection is about to
-- end) also what would be tried again later, once. `busy` says that somebody else is sending some of this user's
-- changes, or of their Zoom account's; `waiting`, how many changes of this user Zoom has not confirmed.
-- `more`: another claim may find more at once; `next_due_in_ms`: one that comes later will.
create function public.edge_outbox_claim(holder uuid, max_rows integer, only_user uuid, scope text) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  max_at_once constant integer := 2;
  max_looked_at constant integer := 50;
  candidates bigint[];
  candidate bigint;
  task video_sessions_private.zoom_outbox;
  connection public.user_integrations_zoom;
  session public.video_sessions;
  meeting video_sessions_private.zoom_meetings;
  desired jsonb;
  tasks jsonb := '[]';
  claimed integer := 0;
  put_off_for text;
  put_off_until timestamptz;
  turn integer;
  turns jsonb := '{}';
  put_off bigint[] := '{}';
  codes text[] := '{}';
  untils timestamptz[] := '{}';
  busy boolean := false;
  waiting bigint;
begin
  if edge_outbox_claim.only_user is null then
    candidates := array(
      select id from video_sessions_private.zoom_outbox
      where dead_at is null and greatest(next_attempt_at, claimed_until) <= now()
      order by greatest(next_attempt_at, claimed_until)
      limit 50
    );
  else
    candidates := array(
      select id from video_sessions_private.zoom_outbox
      where user_id = edge_outbox_claim.only_user and dead_at is null
        and (claimed_until is null or claimed_until <= now())
        and (
          next_attempt_at <= now() or last_code = 'turn'
          or edge_outbox_claim.scope = 'everything' and claimed_by is distinct from edge_outbox_claim.holder
        )
      order by next_attempt_at
      limit 50
    );
  end if;
  foreach candidate in array candidates loop
    exit when claimed >= edge_outbox_claim.max_rows;
    select * into task from video_sessions_private.zoom_outbox where id = candidate;
    select * into connection from public.user_integrations_zoom where user_id = task.user_id;
    put_off_for := null;
    put_off_until := null;
    case
      when connection.status is distinct from 'connected' then
        put_off_for := 'not_connected';
      when task.zoom_user_id <> connection.zoom_user_id then
        put_off_for := 'other_account';
      when connection.cooldown_until > now() then
        put_off_for := 'cooling_down';
        put_off_until := connection.cooldown_until;
      when connection.daily_limit_until > now() and task.kind = 'update' then
        put_off_for := 'daily_limit';
        put_off_until := connection.daily_limit_until;
      else
        -- One claim at a time counts for a Zoom account. What was claimed more than a minute ago is not being sent any
        -- more: whoever claimed it has died, or gives it back.
        if not pg_try_advisory_xact_lock(hashtextextended('zoom_account ' || connection.zoom_account_id, 0))
          or max_at_once <= (
            select count(*) from video_sessions_private.zoom_outbox
            where claimed_account = connection.zoom_account_id and claimed_until > now()
              and claimed_at > now() - interval '1 minute'
          )
        then
          busy := true;
          continue when edge_outbox_claim.only_user is not null;
          -- Four a second are as many as the smallest of Zoom's accounts takes.
          put_off_for := 'turn';
          turn := coalesce((turns ->> task.user_id::text)::integer, 0) + 1;
          turns := turns || jsonb_build_object(task.user_id, turn);
          put_off_until := turn * interval '250 milliseconds' + greatest(now(), (
            select max(next_attempt_at) from video_sessions_private.zoom_outbox
            where user_id = task.user_id and last_code = 'turn'
          ));
        end if;
    end case;
    -- As it was looked at, and nobody else's.
    select * into task from video_sessions_private.zoom_outbox
    where id = candidate and kind = task.kind and dead_at is null
      and (claimed_until is null or claimed_until <= now())
      and (next_attempt_at <= now() or edge_outbox_claim.only_user is not null)
    for update skip locked;
    continue when not found;
    if put_off_for is not null then
      put_off := put_off || task.id;
      codes := codes || put_off_for;
      untils := untils || coalesce(
        put_off_until, now() + least(interval '6 hours', greatest(interval '1 minute', (now() - task.created_at) / 2))
      );
      continue;
    end if;

    desired := null;
    if task.kind = 'update' then
      select * into session from public.video_sessions where id = task.session_id;
      select * into meeting from video_sessions_private.zoom_meetings where session_id = task.session_id;
      -- What Zoom may hold of an earlier try is sent again, as it should be now; nothing else of what has not changed.
      select video_sessions_private.untold(session, meeting) || coalesce(jsonb_object_agg(detail, case detail
        when 'timezone' then to_jsonb(video_sessions_private.zoom_zone(session.timezone))
        else to_jsonb(session) -> detail
      end), '{}') into desired
      from jsonb_object_keys(task.claimed_desired) as detail;
      desired := jsonb_strip_nulls(desired);
      if session.id is null or session.status <> 'scheduled' or desired = '{}' then
        -- Changed back before anything was sent, or overtaken by what happened in Zoom: there is nothing to tell.
        delete from video_sessions_private.zoom_outbox where id = task.id;
        continue;
      end if;
    end if;
    update video_sessions_private.zoom_outbox set
      claimed_by = edge_outbox_claim.holder, claimed_at = now(), claimed_until = now() + interval '5 minutes',
      claimed_account = connection.zoom_account_id, claimed_revision = revision, claimed_desired = desired,
      last_code = nullif(last_code, 'turn')
    where id = task.id;
    claimed := claimed + 1;
    tasks := tasks || jsonb_strip_nulls(jsonb_build_object(
      'task_id', task.id, 'user_id', task.user_id, 'meeting_id', task.meeting_id, 'kind', task.kind,
      'running', task.kind <> 'end' and video_sessions_private.is_running(task.session_id),
      'may_end', video_sessions_private.may_end(task.user_id),
      'session_id', task.session_id, 'desired', desired, 'token', video_sessions_private.peek_token(task.user_id)
    ));
  end loop;
  update video_sessions_private.zoom_outbox set last_code = given.code, next_attempt_at = given.until
  from unnest(put_off, codes, untils) as given (id, code, until)
  where zoom_outbox.id = given.id;
  if edge_outbox_claim.only_user is not null then
    busy := busy or exists (
      select from video_sessions_private.zoom_outbox
      where user_id = edge_outbox_claim.only_user and dead_at is null and claimed_until > now()
        and claimed_by is distinct from edge_outbox_claim.holder
    );
    waiting := (
      select count(*) from video_sessions_private.zoom_outbox where user_id = edge_outbox_claim.only_user
    ) + (
      select count(*) from video_sessions_private.session_creations
      where user_id = edge_outbox_claim.only_user and state in ('running', 'unknown')
    );
  end if;
  return jsonb_build_object(
    'tasks', tasks, 'busy', busy, 'waiting', coalesce(waiting, 0),
    'next_due_in_ms', (
      select ceil(extract(epoch from min(greatest(next_attempt_at, claimed_until)) - now()) * 1000)::bigint
      from video_sessions_private.zoom_outbox
      where dead_at is null and greatest(next_attempt_at, claimed_until) > now()
    ),
    'more', claimed >= edge_outbox_claim.max_rows or cardinality(candidates) >= max_looked_at
  );
end
$$;

-- What became of claimed changes, many at once: `{task_id, result, code?, retry_after_seconds?}` with the result
-- `done`; `gone`, the meeting does not exist any more; `wait`, for what `code` says, which is no try; `failed`, a try
-- in vain; `unsent`, it was not begun. Gives an outcome for each, in order.
--
-- Only one lock is waited for: who changes many sessions at once takes their locks in an order of their own. What is
-- `locked` in a batch has to be settled again, at last alone.
create function public.edge_outbox_settle(holder uuid, results jsonb) returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  result record;
  outcomes jsonb := '[]';
begin
  for result in
    select * from jsonb_to_recordset(edge_outbox_settle.results)
      as given (task_id bigint, result text, code text, retry_after_seconds bigint)
  loop
    outcomes := outcomes || to_jsonb(video_sessions_private.settle_change(
      result.task_id, edge_outbox_settle.holder, result.result, result.code, result.retry_after_seconds,
      case when jsonb_array_length(edge_outbox_settle.results) = 1 then 'wait' else 'skip' end
    ));
  end loop;
  return jsonb_build_object('outcomes', outcomes);
end
$$;

create function video_sessions_private.settle_change(task_id bigint, holder uuid, result text, code text,
retry_after_seconds bigint, if_locked text) returns text
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  max_attempts constant integer := 12;
  task video_sessions_private.zoom_outbox;
  session public.video_sessions;
  meeting video_sessions_private.zoom_meetings;
  result text := settle_change.result;
  code text := settle_change.code;
  new_start timestamptz;
  wait interval;
begin
  select * into task from video_sessions_private.zoom_outbox where id = settle_change.task_id;
  if if_locked = 'wait' then
    select * into session from public.video_sessions where id = task.session_id for no key update;
    select * into task from video_sessions_private.zoom_outbox where id = settle_change.task_id for update;
  else
    select * into session from public.video_sessions where id = task.session_id for no key update skip locked;
    if not found and exists (select from public.video_sessions where id = task.session_id) then
      return 'locked';
    end if;
    select * into task from video_sessions_private.zoom_outbox where id = settle_change.task_id for update skip locked;
    if not found and exists (select from video_sessions_private.zoom_outbox where id = settle_change.task_id) then
      return 'locked';
    end if;
  end if;
  if task.id is null or task.claimed_by is distinct from settle_change.holder or task.claimed_until is null then
    return 'superseded';
  end if;
  if result = 'unsent' then
    update video_sessions_private.zoom_outbox set claimed_by = null, claimed_until = null where id = task.id;
    return 'unsent';
  end if;
  if result in ('done', 'gone') and code = 'meeting_gone' and (task.zoom_user_id is null or exists (
    select from public.user_integrations_zoom
    where user_id = task.user_id and zoom_user_id <> task.zoom_user_id
  )) then
    -- Another Zoom user was connected while this was sent: that one knows nothing of the meeting. Or nobody knows which
    -- Zoom user made it, since the session was taken over.
    result := 'wait';
    code := 'other_account';
  end if;

  if result = 'gone' then
    perform video_sessions_private.meeting_is_gone(task.session_id, now(), 'answer');
    return 'gone';
  end if;

  if result = 'done' then
    if task.claimed_desired is null then
      -- A session that is still there, unless this was one meeting too many.
      if session.provider_meeting_id = task.meeting_id and task.kind = 'delete' then
        update video_sessions_private.zoom_meetings set deleted_at = coalesce(deleted_at, now())
        where session_id = session.id;
        delete from public.video_session_host_meta where session_id = session.id;
      end if;
    else
      -- What Zoom told meanwhile may be newer: it stays. What it tells from now on of an earlier time may be older. A
      -- start that has passed may have been ignored.
      new_start := (task.claimed_desired ->> 'scheduled_start')::timestamptz;
      update video_sessions_private.zoom_meetings set
        description = coalesce(task.claimed_desired ->> 'description', description),
        title = case when title_at > task.claimed_at then title
          else coalesce(task.claimed_desired ->> 'title', title) end,
        title_at = case when title_at > task.claimed_at or not task.claimed_desired ? 'title'
          then title_at else now() end,
        scheduled_start = case when scheduled_start_at > task.claimed_at or new_start < now() then scheduled_start
          else coalesce(new_start, scheduled_start) end,
        scheduled_start_at = case when scheduled_start_at > task.claimed_at or new_start is null then scheduled_start_at
          else now() end,
        timezone = case when timezone_at > task.claimed_at then timezone
          else coalesce(task.claimed_desired ->> 'timezone', timezone) end,
        timezone_at = case when timezone_at > task.claimed_at or not task.claimed_desired ? 'timezone'
          then timezone_at else now() end,
        duration_minutes = case when duration_minutes_at > task.claimed_at then duration_minutes
          else coalesce((task.claimed_desired ->> 'duration_minutes')::integer, duration_minutes) end,
        duration_minutes_at = case
          when duration_minutes_at > task.claimed_at or not task.claimed_desired ? 'duration_minutes'
            then duration_minutes_at
          else now()
        end,
        -- A session that was taken over: now it is known whose meeting it is.
        zoom_user_id = coalesce(
          zoom_user_id, (select zoom_user_id from public.user_integrations_zoom where user_id = task.user_id)
        )
      where session_id = task.session_id
      returning * into meeting;
    end if;
    if task.revision = task.claimed_revision
      and (
        task.kind <> 'update' or session.status is distinct from 'scheduled'
        or not video_sessions_private.differs(session, meeting)
      )
    then
      delete from video_sessions_private.zoom_outbox where id = task.id;
    elsif task.revision = task.claimed_revision then
      -- Zoom has taken it, and yet an event says otherwise: that is sent again, but not at once, and not for ever.
      update video_sessions_private.zoom_outbox set
        claimed_until = null, claimed_desired = null, attempts = attempts + 1,
        dead_at = case when attempts + 1 >= max_attempts then now() end,
        next_attempt_at = now() + least(interval '1 hour', interval '15 seconds' * power(2, least(task.attempts, 10)))
      where id = task.id;
    else
      -- Changed again while this was sent.
      update video_sessions_private.zoom_outbox set
        claimed_until = null, claimed_desired = null, attempts = 0, last_code = null, next_attempt_at = now()
      where id = task.id;
    end if;
    return 'done';
  end if;

  wait := case
    when settle_change.retry_after_seconds is not null
      then make_interval(secs => least(settle_change.retry_after_seconds, 90000)) + random() * interval '5 seconds'
    -- 15 s, 30 s, … up to an hour, and somewhere between half of that and all of it.
    else least(interval '1 hour', interval '15 seconds' * power(2, least(task.attempts, 10))) * (0.5 + random() / 2)
  end;
  update video_sessions_private.zoom_outbox set
    claimed_until = null, last_code = code,
    attempts = attempts + case when result = 'failed' then 1 else 0 end,
    dead_at = case when result = 'failed' and attempts + 1 >= max_attempts then now() end,
    next_attempt_at = now() + wait
  where id = task.id;
  if code = 'daily_limit' then
    -- The limit is the host's: trying other changes now would only be refused as well. Deletions are not counted.
    update public.user_integrations_zoom set daily_limit_until = now() + wait
    where user_id = (
      select user_id from public.user_integrations_zoom where user_id = task.user_id for no key update skip locked
    );
  end if;
  return 'postponed';
end
$$;

-- For an operator: changes that were given up, and another try for one of them or (null) for all.
create function public.edge_outbox_dead_letters() returns jsonb
language sql stable security definer set search_path = ''
as $$
  select coalesce(jsonb_agg(jsonb_build_object(
    'task_id', id, 'session_id', session_id, 'user_id', user_id, 'meeting_id', meeting_id, 'kind', kind,
    'attempts', attempts, 'last_code', last_code, 'dead_at', dead_at, 'created_at', created_at
  ) order by dead_at), '[]')
  from (
    select * from video_sessions_private.zoom_outbox where dead_at is not null order by dead_at limit 1000
  ) as dead
$$;

create function public.edge_outbox_retry(task_id bigint default null) returns jsonb
language sql security definer set search_path = ''
as $$
  with retried as (
    update video_sessions_private.zoom_outbox set dead_at = null, attempts = 0, next_attempt_at = now()
    where dead_at is not null and id = any (
      case when edge_outbox_retry.task_id is not null then array[edge_outbox_retry.task_id]
      else array(select id from video_sessions_private.zoom_outbox where dead_at is not null) end
    )
    returning 1
  )
  select jsonb_build_object('retried', count(*)) from retried
$$;
