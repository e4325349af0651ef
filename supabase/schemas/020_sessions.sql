-- Sessions: the table that apps read, and what holds for a session whoever changes it.

create table public.video_sessions (
  id uuid primary key default gen_random_uuid(),
  host_id uuid not null default auth.uid() references auth.users (id) on delete cascade,
  provider text not null check (provider in ('zoom', 'external')),
  title text not null check (video_sessions_private.is_title(title)),
  description text not null default '' check (char_length(description) <= 2000),
  scheduled_start timestamptz not null,
  timezone text not null default 'UTC',
  -- The app chooses 30, 45 or 60 (a trigger sees to that); a host can set any length in Zoom itself.
  duration_minutes integer not null check (duration_minutes between 1 and 1440),
  max_participants integer not null check (max_participants between 2 and 5),
  status text not null default 'scheduled' check (status in ('scheduled', 'ended', 'cancelled')),
  started_at timestamptz,
  ended_at timestamptz,
  join_url text not null check (join_url ~ '^https?://[^\s/]+' and char_length(join_url) <= 2000),
  provider_meeting_id text unique,
  passcode text,
  settings jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  check ((provider = 'zoom') = (provider_meeting_id is not null))
);
create index video_sessions_host_id_scheduled_start_idx on public.video_sessions (host_id, scheduled_start);
create index video_sessions_scheduled_start_idx on public.video_sessions (scheduled_start) where status = 'scheduled';
comment on table public.video_sessions is
  'Sessions. status, started_at and ended_at follow from what happened (075_life.sql). Never holds a start URL.';
comment on column public.video_sessions.max_participants is 'The host counts as one.';
comment on column public.video_sessions.provider_meeting_id is 'Zoom''s meeting number, as text: it may pass 2^53.';
comment on column public.video_sessions.settings is
  'What Zoom made of the meeting''s settings: waiting_room, join_before_host, mute_upon_entry, host_video, '
  'participant_video, each true or false.';

create function video_sessions_private.check_session() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  taken integer;
begin
  new.updated_at := now();
  -- Zoom has no fractions of seconds, and what it holds is compared with this.
  new.scheduled_start := date_trunc('second', new.scheduled_start);
  if tg_op = 'UPDATE' and new.max_participants < old.max_participants then
    select count(*) into taken from public.video_session_participants where session_id = new.id;
    if taken > new.max_participants then
      raise exception using errcode = '23514',
        message = format('%s people take part already. Remove somebody before you lower max_participants.', taken);
    end if;
  end if;
  if (tg_op = 'INSERT' or new.timezone <> old.timezone) and not video_sessions_private.is_time_zone(new.timezone) then
    raise exception using errcode = '23514',
      message = 'timezone must be the name of a time zone, such as Europe/Berlin.';
  end if;
  if not video_sessions_private.is_app() then
    return new;
  end if;

  new.title := btrim(new.title);
  if new.duration_minutes not in (30, 45, 60) and (tg_op = 'INSERT'
    or new.duration_minutes <> old.duration_minutes)
  then
    raise exception using errcode = '23514', message = 'duration_minutes must be 30, 45 or 60.';
  end if;
  if (tg_op = 'INSERT' or new.scheduled_start <> old.scheduled_start)
    and new.scheduled_start not between now() - interval '5 minutes' and now() + interval '5 years'
  then
    raise exception using errcode = '23514',
      message = 'scheduled_start must be in the future, and at most five years ahead.';
  end if;
  if not video_sessions_private.is_title(new.title) then
    raise exception using errcode = '23514', message = format('title %s.', video_sessions_private.title_rule());
  end if;
  if new.provider = 'external' and not video_sessions_private.is_join_url(new.join_url) then
    raise exception using errcode = '23514', message = format('join_url %s.', video_sessions_private.join_url_rule());
  end if;
  if tg_op = 'UPDATE' and new.provider = 'zoom' and new.join_url <> old.join_url then
    raise exception using errcode = '23514',
      message = 'The link of a Zoom session is Zoom''s own. It cannot be changed.';
  end if;
  -- What only the clock ended can be moved, and is scheduled again.
  if tg_op = 'UPDATE' and old.status <> 'scheduled' and (
    new.status <> old.status
    or (new.scheduled_start, new.duration_minutes) <> (old.scheduled_start, old.duration_minutes)
      and not video_sessions_private.only_the_clock_ended(new.id)
  ) then
    raise exception using errcode = '23514',
      message = format('This session is %s and stays so. Create a new one.', old.status);
  end if;
  return new;
end
$$;
create trigger check_session before insert or update on public.video_sessions
for each row execute function video_sessions_private.check_session();
