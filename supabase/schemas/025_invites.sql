-- Invitations: the code of each session, by which those join who hold it.

-- The code of a session, for its host alone: participants read video_sessions.
create table public.video_session_invites (
  session_id uuid primary key references public.video_sessions (id) on delete cascade,
  host_id uuid not null references auth.users (id) on delete cascade,
  share_code text not null unique default video_sessions_private.new_share_code()
);
create index video_session_invites_host_id_idx on public.video_session_invites (host_id);
comment on table public.video_session_invites is 'Share codes, for the host alone.';
comment on column public.video_session_invites.share_code is 'Lets its holder join: 60 random bits.';

create function video_sessions_private.add_invite() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  insert into public.video_session_invites (session_id, host_id) values (new.id, new.host_id);
  return null;
end
$$;
create trigger add_invite after insert on public.video_sessions
for each row execute function video_sessions_private.add_invite();

-- A session as the functions answer it. Field by field: a column that is added later is not in their answers by itself.
create function video_sessions_private.session_as_json(session public.video_sessions) returns jsonb
language sql stable set search_path = ''
as $$
  select jsonb_build_object(
    'id', session.id, 'host_id', session.host_id, 'provider', session.provider, 'title', session.title,
    'description', session.description, 'scheduled_start', session.scheduled_start, 'timezone', session.timezone,
    'duration_minutes', session.duration_minutes, 'max_participants', session.max_participants,
    'status', session.status, 'started_at', session.started_at, 'ended_at', session.ended_at,
    'join_url', session.join_url, 'provider_meeting_id', session.provider_meeting_id, 'passcode', session.passcode,
    'settings', session.settings, 'created_at', session.created_at, 'updated_at', session.updated_at
  )
$$;

-- The same for its host when it has just been made.
create function video_sessions_private.session_with_code(session public.video_sessions) returns jsonb
language sql stable security definer set search_path = ''
as $$
  select video_sessions_private.session_as_json(session) || jsonb_build_object(
    'share_code', (select share_code from public.video_session_invites where session_id = session.id)
  )
$$;

-- The host replaces the code: links that were passed on lead nowhere any more.
create function public.renew_share_code(session_id uuid) returns void
language plpgsql security definer set search_path = ''
as $$
begin
  update public.video_session_invites invite set share_code = default
  where invite.session_id = renew_share_code.session_id and invite.host_id = auth.uid();
  if not found then
    raise sqlstate 'PGRST' using
      message = '{"code": "session_not_found", "message": "There is no such session."}',
      detail = '{"status": 404, "headers": {}}';
  end if;
end
$$;
comment on function public.renew_share_code is
  'Replaces the share code of the caller''s session. 404 session_not_found.';
