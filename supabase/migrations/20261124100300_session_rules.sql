-- What holds for sessions whoever changes them, and what only the app's own changes have to keep to.

-- Whether the statement comes from the app itself: PostgREST takes on the role of the user's token.
create function private.is_app() returns boolean
language sql stable set search_path = ''
as $$ select current_setting('role') in ('authenticated', 'anon') $$;

create function private.check_session() returns trigger
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
  if not private.is_app() then
    return new;
  end if;

  new.title := btrim(new.title);
  if new.duration_minutes not in (30, 45, 60) and (tg_op = 'INSERT' or new.duration_minutes <> old.duration_minutes) then
    raise exception using errcode = '23514', message = 'duration_minutes must be 30, 45 or 60.';
  end if;
  if (tg_op = 'INSERT' or new.scheduled_start <> old.scheduled_start)
    and new.scheduled_start not between now() - interval '5 minutes' and now() + interval '5 years'
  then
    raise exception using errcode = '23514', message = 'scheduled_start must be in the future, and at most five years ahead.';
  end if;
  if (tg_op = 'INSERT' or new.timezone <> old.timezone)
    and not exists (select from private.time_zones where name = new.timezone)
  then
    raise exception using errcode = '23514', message = 'timezone must be the name of an IANA time zone, such as Europe/Berlin.';
  end if;
  if tg_op = 'INSERT' and new.join_url !~ '^https://[^\s/@]+(/[^\s]*)?$' then
    raise exception using errcode = '23514', message = 'join_url must be an https link.';
  end if;
  if tg_op = 'UPDATE' and new.status <> old.status and old.status <> 'scheduled' then
    raise exception using errcode = '23514',
      message = format('This session is %s and stays so. Create a new one.', old.status);
  end if;
  return new;
end
$$;
create trigger check_session before insert or update on public.video_sessions
for each row execute function private.check_session();

-- The host takes part from the beginning.
create function private.add_host() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  insert into public.video_session_participants (session_id, user_id, role) values (new.id, new.host_id, 'host');
  return null;
end
$$;
create trigger add_host after insert on public.video_sessions
for each row execute function private.add_host();

-- Capacity, whoever inserts: the lock on the session lets one insert at a time count. After the insert, so that the policies
-- have spoken by then: to whom they say no, this must not tell that a session exists or is full.
create function private.check_capacity() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  session public.video_sessions;
  taken integer;
begin
  select * into session from public.video_sessions where id = new.session_id for no key update;
  if session.status <> 'scheduled' and private.is_app() then
    raise exception using errcode = '23514', message = format('This session is %s: nobody can be added.', session.status);
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
for each row execute function private.check_capacity();

create function private.touch() returns trigger
language plpgsql set search_path = ''
as $$
begin
  new.updated_at := now();
  return new;
end
$$;
create trigger touch before update on public.video_session_host_meta for each row execute function private.touch();
create trigger touch before update on public.user_integrations_zoom for each row execute function private.touch();

revoke execute on function private.is_app, private.check_session, private.add_host, private.check_capacity, private.touch
  from public, anon, authenticated, service_role;

-- A client joins by the code that the host shares. A code that leads nowhere and a session that cannot be joined get the
-- same answer, so that guessing teaches nothing; whoever takes part already learns how the session stands by reading it.
create function public.join_video_session(share_code text) returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  max_misses constant integer := 10;
  window_length constant interval := '10 minutes';
  caller constant uuid := auth.uid();
  code constant text := translate(upper(left(join_video_session.share_code, 100)), 'OIL -', '011');
  seen private.share_code_misses;
  session public.video_sessions;
  joined boolean := false;
begin
  if caller is null then
    raise exception using errcode = 'PT401', message = 'Sign in and try again.';
  end if;
  insert into private.share_code_misses (user_id, misses, window_started_at) values (caller, 0, now())
  on conflict (user_id) do update set
    misses = case when share_code_misses.window_started_at < now() - window_length then 0 else share_code_misses.misses end,
    window_started_at = case
      when share_code_misses.window_started_at < now() - window_length then now() else share_code_misses.window_started_at
    end
  returning * into seen;
  if seen.misses >= max_misses then
    perform set_config('response.status', '429', true);
    perform set_config('response.headers', '[{"Retry-After": "600"}]', true);
    return jsonb_build_object(
      'code', 'too_many_attempts', 'message', 'Too many codes that lead nowhere. Try again in ten minutes.',
      'details', null, 'hint', null
    );
  end if;

  select * into session from public.video_sessions v where v.share_code = code for no key update;
  if found then
    joined := exists (
      select from public.video_session_participants p where p.session_id = session.id and p.user_id = caller
    );
    if not joined and session.status = 'scheduled' and session.max_participants > (
      select count(*) from public.video_session_participants p where p.session_id = session.id
    ) then
      insert into public.video_session_participants (session_id, user_id) values (session.id, caller);
      joined := true;
    end if;
  end if;
  if not joined then
    update private.share_code_misses set misses = misses + 1 where user_id = caller;
    perform set_config('response.status', '404', true);
    return jsonb_build_object(
      'code', 'session_not_joinable',
      'message', 'This code does not lead to a session that you can join. It may be mistyped, or the session is full, cancelled or over: ask your host.',
      'details', null, 'hint', null
    );
  end if;
  return to_jsonb(session);
end
$$;
comment on function public.join_video_session is 'Joins the session with this share code and gives it. 404 session_not_joinable, 429 too_many_attempts.';
revoke execute on function public.join_video_session from public, anon, service_role;
grant execute on function public.join_video_session to authenticated;
