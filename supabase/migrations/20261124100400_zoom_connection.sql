-- A host's connection to Zoom: connect, use and refresh, end. Each function for the service role is one step of an edge
-- function and one transaction; it answers an object whose `outcome` says what happened. Tokens come and go sealed.

-- How the user's connection stands, for the app.
create function public.zoom_connection() returns jsonb
language plpgsql stable security definer set search_path = ''
as $$
declare
  connection public.user_integrations_zoom;
begin
  select * into connection from public.user_integrations_zoom where user_id = auth.uid();
  if not found then
    return '{"state": "not_connected", "zoom_account_email": null, "expires_at": null, "reason": null}';
  end if;
  return jsonb_build_object(
    'state', case when connection.status = 'connected' and connection.expires_at > now() then 'connected' else 'expired' end,
    'zoom_account_email', connection.zoom_account_email,
    'expires_at', connection.expires_at,
    'reason', case when connection.expires_at > now() then connection.expired_reason else coalesce(connection.expired_reason, 'idle') end
  );
end
$$;
comment on function public.zoom_connection is '{state: not_connected|connected|expired, zoom_account_email, expires_at, reason} of the caller.';
revoke execute on function public.zoom_connection from public, anon, service_role;
grant execute on function public.zoom_connection to authenticated;

-- Ends a connection without removing it: the host has to reconnect, and is told why. Tokens that are dead are not kept;
-- those that only lack a scope still live at Zoom and are needed to revoke them.
create function private.expire_connection(target uuid, reason text) returns void
language sql security definer set search_path = ''
as $$
  update public.user_integrations_zoom set
    status = 'expired', expired_reason = reason, expires_at = least(expires_at, now()),
    access_token = case when reason = 'missing_scope' then access_token end,
    refresh_token = case when reason = 'missing_scope' then refresh_token end,
    lease_holder = null, lease_until = null, cooldown_until = null
  where user_id = target and status = 'connected'
$$;

-- Versions of tokens. None comes twice, so that a late word about the tokens of a connection that has gone is never taken for
-- one about those of the connection that came after it.
create sequence private.token_versions;

-- The way to an access token with at least `min_seconds` left: the token, the lease to refresh it, or why there is neither.
-- Tokens of `refused_version` are those that Zoom has refused: nobody is given them again. Takes the row's lock, so that one
-- caller at a time decides.
create function private.claim_token(owner uuid, holder uuid, min_seconds integer, refused_version bigint) returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  -- Longer than Zoom is waited for (15 s): a holder that lives saves its tokens before anybody else may ask.
  lease_length constant interval := '20 seconds';
  connection public.user_integrations_zoom;
begin
  select * into connection from public.user_integrations_zoom where user_id = owner for no key update;
  if not found then
    return '{"state": "not_connected"}';
  end if;
  if connection.status = 'connected' and connection.expires_at <= now() then
    -- Zoom lets a refresh token die after about 90 days.
    perform private.expire_connection(owner, 'idle');
    return '{"state": "expired", "reason": "idle"}';
  end if;
  if connection.status = 'expired' then
    return jsonb_build_object('state', 'expired', 'reason', connection.expired_reason);
  end if;
  if connection.token_version = refused_version then
    update public.user_integrations_zoom set access_token_expires_at = least(access_token_expires_at, now())
    where user_id = owner
    returning * into connection;
  end if;
  if connection.access_token_expires_at > now() + make_interval(secs => min_seconds) then
    update public.user_integrations_zoom set used_at = now() where user_id = owner and used_at < now() - interval '1 minute';
    return jsonb_build_object(
      'state', 'fresh', 'access_token', connection.access_token, 'token_version', connection.token_version
    );
  end if;
  -- The holder itself may ask again: the answer that gave it the lease was lost on the way.
  if connection.lease_until > now() and connection.lease_holder is distinct from holder then
    return '{"state": "busy", "retry_after_ms": 200}';
  end if;
  if connection.cooldown_until > now() then
    return jsonb_build_object(
      'state', 'cooling_down',
      'retry_after_seconds', greatest(1, ceil(extract(epoch from connection.cooldown_until - now()))::integer)
    );
  end if;
  update public.user_integrations_zoom set lease_holder = holder, lease_until = now() + lease_length where user_id = owner;
  return jsonb_build_object(
    'state', 'refresh', 'refresh_token', connection.refresh_token, 'token_version', connection.token_version
  );
end
$$;

-- A token for later, as batches are handed out: one that is fresh now, or else the word to ask again when it is needed.
-- Takes no lease, which could run out before its turn comes.
create function private.peek_token(owner uuid) returns jsonb
language sql stable security definer set search_path = ''
as $$
  select coalesce(
    (
      select jsonb_build_object('state', 'fresh', 'access_token', access_token, 'token_version', token_version)
      from public.user_integrations_zoom
      where user_id = owner and status = 'connected' and access_token_expires_at > now() + interval '1 minute'
    ),
    '{"state": "busy", "retry_after_ms": 0}'
  )
$$;

revoke execute on function private.expire_connection, private.claim_token, private.peek_token
  from public, anon, authenticated, service_role;

-- zoom-oauth-start: remembers a state for ten minutes. A user has five live ones at most; the oldest give way.
create function public.zoom_oauth_begin(user_id uuid, state_hash text, sealed_verifier text) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  ends_at constant timestamptz := now() + interval '10 minutes';
begin
  if not public.can_host_video_sessions(zoom_oauth_begin.user_id) then
    return '{"outcome": "not_a_host"}';
  end if;
  -- One at a time for each user, or each of many at once would count four.
  perform pg_advisory_xact_lock(hashtextextended('zoom_oauth_begin ' || zoom_oauth_begin.user_id::text, 0));
  delete from private.zoom_oauth_states where state_hash in (
    select state_hash from private.zoom_oauth_states
    where user_id = zoom_oauth_begin.user_id and consumed_at is null
    order by created_at desc offset 4
  );
  insert into private.zoom_oauth_states (state_hash, user_id, sealed_verifier, expires_at)
  values (zoom_oauth_begin.state_hash, zoom_oauth_begin.user_id, zoom_oauth_begin.sealed_verifier, ends_at);
  return jsonb_build_object('outcome', 'ok', 'expires_at', ends_at);
end
$$;

-- zoom-oauth-callback, first: whoever comes first with a state may exchange the code; whoever comes again learns what came of
-- it. `denied` is what Zoom said in place of a code.
create function public.zoom_oauth_consume(state_hash text, denied text) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  state private.zoom_oauth_states;
begin
  select * into state from private.zoom_oauth_states where state_hash = zoom_oauth_consume.state_hash for update;
  if not found then
    return '{"outcome": "unknown"}';
  end if;
  if state.result is not null then
    return jsonb_build_object('outcome', 'finished', 'result', state.result);
  end if;
  if state.consumed_at is not null then
    -- Whoever consumed it has had more than enough time: it died.
    if state.consumed_at < now() - interval '2 minutes' then
      return '{"outcome": "expired"}';
    end if;
    return '{"outcome": "running"}';
  end if;
  if state.expires_at <= now() then
    return '{"outcome": "expired"}';
  end if;
  update private.zoom_oauth_states set consumed_at = now(), result = zoom_oauth_consume.denied
  where state_hash = zoom_oauth_consume.state_hash;
  if zoom_oauth_consume.denied is not null then
    return jsonb_build_object('outcome', 'finished', 'result', zoom_oauth_consume.denied);
  end if;
  return jsonb_build_object('outcome', 'claimed', 'user_id', state.user_id, 'sealed_verifier', state.sealed_verifier);
end
$$;

-- zoom-oauth-callback, in the end: why nothing was connected, for whoever comes again with the same state.
create function public.zoom_oauth_fail(state_hash text, result text) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
begin
  update private.zoom_oauth_states set result = zoom_oauth_fail.result
  where state_hash = zoom_oauth_fail.state_hash and result is null;
  return '{"outcome": "recorded"}';
end
$$;

-- zoom-oauth-callback, in the end: saves the connection over whatever was there, old verdicts included. The same Zoom account
-- under another user loses it, since Zoom has killed those tokens already. May be repeated.
create function public.zoom_oauth_complete(
  state_hash text, user_id uuid, zoom_user_id text, zoom_account_id text, zoom_account_email text, scope text,
  access_token text, refresh_token text, access_expires_in integer
) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  state private.zoom_oauth_states;
begin
  select * into state from private.zoom_oauth_states
  where state_hash = zoom_oauth_complete.state_hash and user_id = zoom_oauth_complete.user_id for update;
  if not found or state.consumed_at is null or state.result <> 'success' then
    return '{"outcome": "invalid_state"}';
  end if;
  if state.result = 'success' then
    return '{"outcome": "connected"}';
  end if;
  -- One connect of a Zoom account at a time, so that two users who connect it at once do not both keep it.
  perform pg_advisory_xact_lock(hashtextextended('zoom_oauth_complete ' || zoom_oauth_complete.zoom_user_id, 0));
  perform private.expire_connection(other.user_id, 'connected_elsewhere')
  from public.user_integrations_zoom other
  where other.zoom_user_id = zoom_oauth_complete.zoom_user_id and other.user_id <> zoom_oauth_complete.user_id;
  insert into public.user_integrations_zoom as connection (
    user_id, zoom_user_id, zoom_account_id, zoom_account_email, scope, access_token, refresh_token, token_version,
    access_token_expires_at, expires_at
  ) values (
    zoom_oauth_complete.user_id, zoom_oauth_complete.zoom_user_id, zoom_oauth_complete.zoom_account_id,
    zoom_oauth_complete.zoom_account_email, zoom_oauth_complete.scope,
    zoom_oauth_complete.access_token, zoom_oauth_complete.refresh_token, nextval('private.token_versions'),
    now() + make_interval(secs => zoom_oauth_complete.access_expires_in), now() + interval '90 days'
  )
  on conflict (user_id) do update set
    zoom_user_id = excluded.zoom_user_id, zoom_account_id = excluded.zoom_account_id,
    zoom_account_email = excluded.zoom_account_email, scope = excluded.scope,
    access_token = excluded.access_token, refresh_token = excluded.refresh_token,
    access_token_expires_at = excluded.access_token_expires_at, expires_at = excluded.expires_at,
    status = 'connected', expired_reason = null, token_version = excluded.token_version,
    refreshed_at = now(), used_at = now(), connected_at = now(),
    lease_holder = null, lease_until = null, cooldown_until = null,
    daily_limit_until = case when connection.zoom_user_id = excluded.zoom_user_id then connection.daily_limit_until end;
  update private.zoom_oauth_states set result = 'success' where state_hash = zoom_oauth_complete.state_hash;
  return '{"outcome": "connected"}';
end
$$;

-- Every function that needs a token: how the connection stands, and the claim to a token.
create function public.zoom_refresh_begin(user_id uuid, holder uuid, min_seconds integer, refused_version bigint) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  claim constant jsonb := private.claim_token(
    zoom_refresh_begin.user_id, zoom_refresh_begin.holder, zoom_refresh_begin.min_seconds, zoom_refresh_begin.refused_version
  );
begin
  return jsonb_build_object('token', claim) || coalesce(
    (
      select jsonb_build_object('zoom_account_email', zoom_account_email, 'expires_at', expires_at)
      from public.user_integrations_zoom where user_id = zoom_refresh_begin.user_id
    ),
    '{"zoom_account_email": null, "expires_at": null}'
  );
end
$$;

-- Saves the tokens that came for those of `token_version`. Zoom gave them for a refresh token that works once, so they are
-- the only live ones, whoever holds the lease by now and whatever verdict another caller came to; only newer tokens keep them
-- out (`superseded`), or that there is no connection any more (`refused`). A verdict that is not about tokens stands.
-- May be repeated.
create function public.zoom_refresh_commit(
  user_id uuid, holder uuid, token_version bigint, access_token text, refresh_token text, access_expires_in integer, scope text
) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  connection public.user_integrations_zoom;
begin
  select * into connection from public.user_integrations_zoom where user_id = zoom_refresh_commit.user_id for no key update;
  if not found then
    return '{"outcome": "refused"}';
  end if;
  if connection.access_token = zoom_refresh_commit.access_token then
    return jsonb_build_object('outcome', 'saved', 'token_version', connection.token_version);
  end if;
  if connection.token_version <> zoom_refresh_commit.token_version or connection.expired_reason = 'connected_elsewhere' then
    return '{"outcome": "superseded"}';
  end if;
  if connection.expired_reason is distinct from 'missing_scope' then
    connection.status := 'connected';
    connection.expired_reason := null;
    connection.expires_at := now() + interval '90 days';
  end if;
  update public.user_integrations_zoom set
    access_token = zoom_refresh_commit.access_token, refresh_token = zoom_refresh_commit.refresh_token,
    access_token_expires_at = now() + make_interval(secs => zoom_refresh_commit.access_expires_in),
    scope = coalesce(nullif(zoom_refresh_commit.scope, ''), scope),
    token_version = nextval('private.token_versions'), refreshed_at = now(),
    status = connection.status, expired_reason = connection.expired_reason, expires_at = connection.expires_at,
    lease_holder = null, lease_until = null, cooldown_until = null
  where user_id = zoom_refresh_commit.user_id
  returning * into connection;
  return jsonb_build_object('outcome', 'saved', 'token_version', connection.token_version);
end
$$;

-- Records that a refresh came to nothing: `expired` with its reason, or `cooldown` for a while. If the tokens have changed
-- meanwhile, the verdict is about old ones and counts for nothing.
create function public.zoom_refresh_fail(
  user_id uuid, holder uuid, token_version bigint, verdict text, reason text, cooldown_seconds integer
) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  connection public.user_integrations_zoom;
begin
  select * into connection from public.user_integrations_zoom where user_id = zoom_refresh_fail.user_id for no key update;
  if connection.token_version is distinct from zoom_refresh_fail.token_version then
    return '{"outcome": "superseded"}';
  end if;
  if zoom_refresh_fail.verdict = 'expired' then
    perform private.expire_connection(zoom_refresh_fail.user_id, zoom_refresh_fail.reason);
  else
    update public.user_integrations_zoom set
      cooldown_until = now() + make_interval(secs => least(zoom_refresh_fail.cooldown_seconds, 86400)),
      lease_holder = null, lease_until = null
    where user_id = zoom_refresh_fail.user_id and lease_holder = zoom_refresh_fail.holder;
  end if;
  return '{"outcome": "recorded"}';
end
$$;

-- Records that the API itself said that the connection has ended (a missing scope, a user that is gone).
create function public.zoom_connection_expire(user_id uuid, token_version bigint, reason text) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  connection public.user_integrations_zoom;
begin
  select * into connection from public.user_integrations_zoom where user_id = zoom_connection_expire.user_id for no key update;
  if connection.token_version is distinct from zoom_connection_expire.token_version then
    return '{"outcome": "superseded"}';
  end if;
  perform private.expire_connection(zoom_connection_expire.user_id, zoom_connection_expire.reason);
  return '{"outcome": "recorded"}';
end
$$;

-- Which connections are due for a refresh: those that will be needed within ten minutes (a session is about to start, or the
-- token that was used last is about to run out), and those that nobody has refreshed for 30 days.
create function private.due_connections() returns setof public.user_integrations_zoom
language sql stable security definer set search_path = ''
as $$
  with due as (
    select user_id from public.user_integrations_zoom
    where status = 'connected' and refreshed_at < now() - interval '30 days'
    union
    select user_id from public.user_integrations_zoom
    where status = 'connected' and used_at >= refreshed_at
      and access_token_expires_at between now() - interval '10 minutes' and now() + interval '10 minutes'
    union
    select connection.user_id
    from public.video_sessions session
    join public.user_integrations_zoom connection on connection.user_id = session.host_id
    where session.provider = 'zoom' and session.status = 'scheduled'
      and session.scheduled_start between now() - interval '5 minutes' and now() + interval '10 minutes'
      and connection.status = 'connected' and connection.access_token_expires_at < now() + interval '10 minutes'
  )
  select connection.* from due
  join public.user_integrations_zoom connection on connection.user_id = due.user_id
  where connection.cooldown_until is null or connection.cooldown_until <= now()
$$;
create index video_sessions_scheduled_start_idx on public.video_sessions (scheduled_start) where status = 'scheduled';

create function public.zoom_refresh_due(max_rows integer) returns jsonb
language sql stable security definer set search_path = ''
as $$
  select jsonb_build_object(
    'user_ids', coalesce(jsonb_agg(user_id) filter (where number <= max_rows), '[]'),
    'remaining', greatest(0, count(*) - max_rows)
  )
  -- Whoever would lapse first goes first.
  from (
    select user_id, row_number() over (order by expires_at, user_id) as number from private.due_connections()
  ) as due
$$;

-- Rotation of sealing keys: connections that are sealed with another key than `key_id`, and how many rows in all need
-- another one: departures and states on their way to the consent page are gone within minutes.
create function public.zoom_reseal_claim(key_id text, max_rows integer) returns jsonb
language sql stable security definer set search_path = ''
as $$
  with stale as (
    select user_id, token_version, access_token, refresh_token
    from public.user_integrations_zoom
    where not (starts_with(access_token, 'v1.' || key_id || '.') and starts_with(refresh_token, 'v1.' || key_id || '.'))
  )
  select jsonb_build_object(
    'connections', coalesce((select jsonb_agg(to_jsonb(first)) from (select * from stale order by user_id limit max_rows) as first), '[]'),
    'total', (select count(*) from stale) + (
      select count(*) from private.zoom_departures
      where not (starts_with(access_token, 'v1.' || key_id || '.') and starts_with(refresh_token, 'v1.' || key_id || '.'))
    ) + (
      select count(*) from private.zoom_oauth_states
      where consumed_at is null and expires_at > now() and not starts_with(sealed_verifier, 'v1.' || key_id || '.')
    )
  )
$$;

-- Saves the same tokens under a new seal, unless they have changed meanwhile: then they carry the new seal already.
create function public.zoom_reseal(
  user_id uuid, token_version bigint, old_refresh_token text, access_token text, refresh_token text
) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
begin
  update public.user_integrations_zoom set
    access_token = zoom_reseal.access_token, refresh_token = zoom_reseal.refresh_token
  where user_id = zoom_reseal.user_id and token_version = zoom_reseal.token_version
    and refresh_token = zoom_reseal.old_refresh_token;
  return jsonb_build_object('outcome', case when found then 'resealed' else 'superseded' end);
end
$$;

-- Takes a connection out of everybody's reach: its tokens move to the departures, its start URLs and states go.
create function private.depart(connection public.user_integrations_zoom) returns private.zoom_departures
language plpgsql security definer set search_path = ''
as $$
declare
  departure private.zoom_departures;
begin
  delete from public.user_integrations_zoom where user_id = connection.user_id;
  delete from public.video_session_host_meta where host_id = connection.user_id;
  delete from private.zoom_oauth_states where user_id = connection.user_id and consumed_at is null;
  if connection.access_token is not null then
    insert into private.zoom_departures (user_id, zoom_user_id, access_token, refresh_token, access_token_expires_at, claimed_until)
    values (
      connection.user_id, connection.zoom_user_id, connection.access_token, connection.refresh_token,
      connection.access_token_expires_at, now() + interval '2 minutes'
    )
    returning * into departure;
  end if;
  return departure;
end
$$;

create function private.departure_as_json(departure private.zoom_departures) returns jsonb
language sql stable set search_path = ''
as $$
  select jsonb_build_object(
    'departure_id', departure.id, 'user_id', departure.user_id,
    'access_token', departure.access_token, 'refresh_token', departure.refresh_token,
    'fresh', departure.access_token_expires_at > now() + interval '1 minute'
  )
$$;

-- zoom-disconnect, first. With mode `if_drained` only if nothing of this host is in the outbox, with `always` anyway.
create function public.zoom_disconnect_begin(user_id uuid, mode text) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  connection public.user_integrations_zoom;
  departure private.zoom_departures;
begin
  select * into connection from public.user_integrations_zoom where user_id = zoom_disconnect_begin.user_id for update;
  if not found then
    return '{"outcome": "not_connected"}';
  end if;
  if zoom_disconnect_begin.mode = 'if_drained' and connection.status = 'connected' and exists (
    select from private.zoom_outbox
    where user_id = zoom_disconnect_begin.user_id and dead_at is null
  ) then
    return '{"outcome": "pending"}';
  end if;
  departure := private.depart(connection);
  if departure.id is null then
    return '{"outcome": "not_connected"}';
  end if;
  return jsonb_build_object('outcome', 'revoke') || private.departure_as_json(departure);
end
$$;

-- zoom-disconnect, last: the tokens are revoked, or Zoom is down; either way they go.
create function public.zoom_disconnect_complete(departure_id uuid) returns jsonb
language plpgsql security definer set search_path = ''
as $$
begin
  delete from private.zoom_departures where id = zoom_disconnect_complete.departure_id;
  return '{"outcome": "forgotten"}';
end
$$;

revoke execute on function
  private.due_connections, private.depart, private.departure_as_json,
  public.zoom_oauth_begin, public.zoom_oauth_consume, public.zoom_oauth_fail, public.zoom_oauth_complete,
  public.zoom_refresh_begin, public.zoom_refresh_commit, public.zoom_refresh_fail, public.zoom_connection_expire,
  public.zoom_refresh_due, public.zoom_reseal_claim, public.zoom_reseal,
  public.zoom_disconnect_begin, public.zoom_disconnect_complete
from public, anon, authenticated, service_role;
grant execute on function
  public.zoom_oauth_begin, public.zoom_oauth_consume, public.zoom_oauth_fail, public.zoom_oauth_complete,
  public.zoom_refresh_begin, public.zoom_refresh_commit, public.zoom_refresh_fail, public.zoom_connection_expire,
  public.zoom_refresh_due, public.zoom_reseal_claim, public.zoom_reseal,
  public.zoom_disconnect_begin, public.zoom_disconnect_complete
to service_role;
