-- Joining by the code that a host shares, and whom no code lets in.

-- Participants whom the host removed: no code lets them back in, only the host's own invitation does.
create table video_sessions_private.removed_participants (
  session_id uuid not null references public.video_sessions (id) on delete cascade,
  user_id uuid not null references auth.users (id) on delete cascade,
  primary key (session_id, user_id)
);
create index removed_participants_user_id_idx on video_sessions_private.removed_participants (user_id);

create function video_sessions_private.remember_removal() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  if video_sessions_private.is_app() and old.user_id <> auth.uid() then
    -- Not when the session goes, and all who take part with it.
    insert into video_sessions_private.removed_participants (session_id, user_id)
    select id, old.user_id from public.video_sessions where id = old.session_id
    on conflict do nothing;
  end if;
  return null;
end
$$;
create trigger remember_removal after delete on public.video_session_participants
for each row execute function video_sessions_private.remember_removal();

create function video_sessions_private.forget_removal() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  delete from video_sessions_private.removed_participants where session_id = new.session_id and user_id = new.user_id;
  return null;
end
$$;
create trigger forget_removal after insert on public.video_session_participants
for each row execute function video_sessions_private.forget_removal();

-- Wrong share codes, counted by user, to slow down who guesses.
create table video_sessions_private.share_code_misses (
  user_id uuid primary key references auth.users (id) on delete cascade,
  misses integer not null,
  window_started_at timestamptz not null
);
create index share_code_misses_window_started_at_idx on video_sessions_private.share_code_misses (window_started_at);

-- The name under which a host is shown to somebody who holds an invitation. An app whose people have their names
-- elsewhere replaces this. No client role may execute it: a name is told for a code, not for an id.
create function public.video_session_display_name(user_id uuid) returns text
language sql stable security definer set search_path = ''
as $$
  select nullif(left(btrim(coalesce(raw_user_meta_data ->> 'full_name', raw_user_meta_data ->> 'name')), 200), '')
  from auth.users where id = video_session_display_name.user_id
$$;
comment on function public.video_session_display_name is
  'The name of a host for those who hold an invitation, or null. Replace it to take it from elsewhere.';

-- Whether somebody who does not take part yet may join.
create function video_sessions_private.may_join(session public.video_sessions, joiner uuid) returns boolean
language sql stable security definer set search_path = ''
as $$
  select session.status = 'scheduled'
    and session.max_participants > (
      select count(*) from public.video_session_participants where session_id = session.id
    )
    and not exists (
      select from video_sessions_private.removed_participants where session_id = session.id and user_id = joiner
    )
$$;

-- join-session: lets a user in by the code that the host shares, or only shows where it leads. A code that leads
-- nowhere and a session that cannot be joined get the same answer, so that guessing teaches nothing. Nothing but the
-- user's own count is locked before the session is found to be joinable; then code and session are looked at again
-- under its lock.
create function public.edge_join(user_id uuid, share_code text, preview boolean, allow_anonymous boolean) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  max_misses constant integer := 10;
  window_length constant interval := '10 minutes';
  joiner constant uuid := edge_join.user_id;
  code constant text := translate(upper(left(edge_join.share_code, 100)), 'OIL -', '011');
  seen video_sessions_private.share_code_misses;
  session public.video_sessions;
  anonymous boolean;
  joined boolean;
begin
  select is_anonymous into anonymous from auth.users where id = joiner;
  if not found then
    -- The account was deleted a moment ago.
    return '{"outcome": "not_joinable"}';
  end if;
  if anonymous and not edge_join.allow_anonymous then
    return '{"outcome": "anonymous"}';
  end if;
  insert into video_sessions_private.share_code_misses (user_id, misses, window_started_at) values (joiner, 0, now())
  on conflict (user_id) do update set
    misses = case
      when share_code_misses.window_started_at < now() - window_length then 0 else share_code_misses.misses
    end,
    window_started_at = case
      when share_code_misses.window_started_at < now() - window_length then now()
      else share_code_misses.window_started_at
    end
  returning * into seen;
  if seen.misses >= max_misses then
    return jsonb_build_object(
      'outcome', 'too_many_attempts', 'retry_after_seconds',
      greatest(1, ceil(extract(epoch from seen.window_started_at + window_length - now()))::integer)
    );
  end if;

  select v.* into session from public.video_session_invites invite
  join public.video_sessions v on v.id = invite.session_id
  where invite.share_code = code;
  joined := exists (
    select from public.video_session_participants where session_id = session.id and user_id = joiner
  );
  if session.id is not null and (joined or video_sessions_private.may_join(session, joiner)) then
    if edge_join.preview then
      return jsonb_build_object('outcome', 'preview', 'session', jsonb_build_object(
        'title', session.title, 'host_name', public.video_session_display_name(session.host_id),
        'scheduled_start', session.scheduled_start, 'timezone', session.timezone,
        'duration_minutes', session.duration_minutes, 'joined', joined,
        'seats_left', greatest(0, session.max_participants - (
          select count(*) from public.video_session_participants where session_id = session.id
        ))
      ));
    end if;
    if not joined then
      select v.* into session from public.video_sessions v where v.id = session.id for no key update;
      joined := exists (
        select from public.video_session_participants where session_id = session.id and user_id = joiner
      );
      if not joined and exists (
        select from public.video_session_invites where session_id = session.id and share_code = code
      ) and video_sessions_private.may_join(session, joiner) then
        -- For the feed: this person came by the code, nobody invited them.
        perform set_config('video_sessions.joining', joiner::text, true);
        insert into public.video_session_participants (session_id, user_id) values (session.id, joiner);
        joined := true;
      end if;
    end if;
    if joined then
      return jsonb_build_object('outcome', 'joined', 'session', video_sessions_private.session_as_json(session));
    end if;
  end if;
  update video_sessions_private.share_code_misses set misses = misses + 1 where user_id = joiner;
  return '{"outcome": "not_joinable"}';
end
$$;
