-- Who takes part in a session. Capacity is kept here, whoever adds people.

create table public.video_session_participants (
  session_id uuid not null references public.video_sessions (id) on delete cascade,
  user_id uuid not null references auth.users (id) on delete cascade,
  role text not null default 'participant' check (role in ('host', 'participant')),
  -- The session's, by trigger, for policies to compare. No foreign key: PostgREST would not know by which of two to
  -- embed.
  host_id uuid not null default auth.uid(),
  created_at timestamptz not null default now(),
  primary key (session_id, user_id)
);
create index video_session_participants_user_id_idx on public.video_session_participants (user_id, role, session_id);
create index video_session_participants_host_id_idx on public.video_session_participants (host_id, session_id);
create unique index video_session_participants_one_host_idx on public.video_session_participants (session_id)
where role = 'host';

create function video_sessions_private.fill_host_id() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  new.host_id := (select host_id from public.video_sessions where id = new.session_id);
  return new;
end
$$;
create trigger fill_host_id before insert on public.video_session_participants
for each row execute function video_sessions_private.fill_host_id();

-- The host takes part from the beginning.
create function video_sessions_private.add_host() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  insert into public.video_session_participants (session_id, user_id, role) values (new.id, new.host_id, 'host');
  return null;
end
$$;
create trigger add_host after insert on public.video_sessions
for each row execute function video_sessions_private.add_host();

-- Capacity, whoever inserts: the lock on the session lets one insert at a time count. After the insert, so that the
-- policies have spoken by then: to whom they say no, this must not tell that a session exists or is full.
create function video_sessions_private.check_capacity() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  session public.video_sessions;
  taken integer;
begin
  select * into session from public.video_sessions where id = new.session_id for no key update;
  if session.status <> 'scheduled' and video_sessions_private.is_app() then
    raise exception using errcode = '23514',
      message = format('This session is %s: nobody can be added.', session.status);
  end if;
  select count(*) into taken from public.video_session_participants where session_id = new.session_id;
  if taken > session.max_participants then
    raise exception using errcode = '23514',
      message = format('This session is full: it has room for %s, the host included.', session.max_participants);
  end if;
  return null;
end
$$;
create trigger check_capacity after insert on public.video_session_participants
for each row execute function video_sessions_private.check_capacity();
