-- A request that is repeated with its key gets the session that it has made, though its start is past by then: only a session
-- that is yet to be made must not start in the past, so that is looked at after the key.

-- create-session, first: claims a row of the ledger and a token. An external session is created at once.
create or replace function public.session_begin(
  user_id uuid, holder uuid, idempotency_key text, request_hash text, session jsonb
) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  host constant uuid := session_begin.user_id;
  external constant boolean := session_begin.session ->> 'provider' = 'external';
  guests constant uuid[] := array(select value::uuid from jsonb_array_elements_text(session_begin.session -> 'participant_ids'));
  known private.session_creations;
  created public.video_sessions;
  fields jsonb := '{}';
  token jsonb;
  new_id uuid;
begin
  if session_begin.idempotency_key is not null then
    select * into known from private.session_creations
    where user_id = host and idempotency_key = session_begin.idempotency_key and state <> 'failed';
    if found then
      return private.creation_so_far(known, session_begin.request_hash);
    end if;
  end if;
  if not public.can_host_video_sessions(host) then
    return '{"outcome": "not_a_host"}';
  end if;
  if not exists (select from private.time_zones where name = session_begin.session ->> 'timezone') then
    fields := fields || '{"timezone": "must be the name of an IANA time zone, such as Europe/Berlin"}';
  end if;
  -- The functions allow the same five minutes, and say the same, where no key is given.
  if (session_begin.session ->> 'scheduled_start')::timestamptz < now() - interval '5 minutes' then
    fields := fields || '{"scheduled_start": "must not be in the past"}';
  end if;
  if host = any (guests) then
    fields := fields || '{"participant_ids": "must not name the host, who takes part anyway"}';
  elsif (select count(*) from auth.users where id = any (guests)) < cardinality(guests) then
    fields := fields || '{"participant_ids": "name somebody who does not exist"}';
  end if;
  if fields <> '{}' then
    return jsonb_build_object('outcome', 'invalid', 'fields', fields);
  end if;

  if not external then
    token := private.claim_token(host, session_begin.holder, 60, null);
    case token ->> 'state'
      when 'not_connected' then return '{"outcome": "zoom_not_connected"}';
      when 'expired' then return '{"outcome": "zoom_expired"}';
      when 'cooling_down' then
        return jsonb_build_object('outcome', 'cooling_down', 'retry_after_seconds', token -> 'retry_after_seconds');
      else null;
    end case;
  end if;

  insert into private.session_creations (user_id, zoom_user_id, idempotency_key, request_hash, request, next_check_at)
  -- Zoom is asked within a minute, and has a quarter of one to answer; what is open after two was abandoned.
  values (
    host, case when not external then (select zoom_user_id from public.user_integrations_zoom where user_id = host) end,
    session_begin.idempotency_key, session_begin.request_hash, session_begin.session, now() + interval '2 minutes'
  )
  on conflict (user_id, idempotency_key) where idempotency_key is not null and state <> 'failed' do nothing
  returning id into new_id;
  if new_id is null then
    -- Somebody else with the same key was a moment faster. A lease that was taken above goes back.
    update public.user_integrations_zoom set lease_holder = null, lease_until = null
    where user_id = host and lease_holder = session_begin.holder and token ->> 'state' = 'refresh';
    select * into known from private.session_creations
    where user_id = host and idempotency_key = session_begin.idempotency_key and state <> 'failed';
    return private.creation_so_far(known, session_begin.request_hash);
  end if;
  if external then
    created := private.insert_session(new_id, host, session_begin.session, null);
    return jsonb_build_object('outcome', 'created', 'session', to_jsonb(created));
  end if;
  return jsonb_build_object('outcome', 'create', 'creation_id', new_id, 'token', token);
end
$$;
