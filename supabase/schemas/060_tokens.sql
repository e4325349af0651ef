-- Access tokens: who may use one, who refreshes it, and what comes of a refresh.

-- The way to an access token with at least `min_seconds` left: the token, the lease to refresh it, or why there is
-- neither. Tokens of `refused_version` are those that Zoom has refused: nobody is given them again. Takes the row's
-- lock, so that one caller at a time decides.
create function video_sessions_private.claim_token(owner uuid, holder uuid, min_seconds integer,
refused_version bigint) returns jsonb
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
    perform video_sessions_private.expire_connection(owner, 'idle');
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
    update public.user_integrations_zoom set used_at = now()
    where user_id = owner and used_at < now() - interval '1 minute';
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
  update public.user_integrations_zoom set lease_holder = holder, lease_until = now() + lease_length
  where user_id = owner;
  return jsonb_build_object(
    'state', 'refresh', 'refresh_token', connection.refresh_token, 'token_version', connection.token_version
  );
end
$$;

-- Gives back a lease that was taken for nothing.
create function video_sessions_private.give_back_lease(owner uuid, holder uuid) returns void
language sql security definer set search_path = ''
as $$
  update public.user_integrations_zoom set lease_holder = null, lease_until = null
  where user_id = owner and lease_holder = holder
$$;

-- A token for later, as batches are handed out: one that is fresh now, or else the word to ask again when it is needed.
-- Takes no lease, which could run out before its turn comes.
create function video_sessions_private.peek_token(owner uuid) returns jsonb
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

-- Every function that needs a token: how the connection stands, and the claim to a token.
create function public.edge_token_claim(user_id uuid, holder uuid, min_seconds integer, refused_version bigint)
returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  claim constant jsonb := video_sessions_private.claim_token(
    edge_token_claim.user_id, edge_token_claim.holder, edge_token_claim.min_seconds, edge_token_claim.refused_version
  );
begin
  return jsonb_build_object('token', claim) || coalesce(
    (
      select jsonb_build_object('zoom_account_email', zoom_account_email, 'expires_at', expires_at)
      from public.user_integrations_zoom where user_id = edge_token_claim.user_id
    ),
    '{"zoom_account_email": null, "expires_at": null}'
  );
end
$$;

-- Saves the tokens that came for those of `token_version`. Zoom gave them for a refresh token that works once, so they
-- are the only live ones, whoever holds the lease by now and whatever verdict another caller came to; only newer tokens
-- keep them out (`superseded`), or that there is no connection any more (`refused`). A verdict that is not about tokens
-- stands. May be repeated.
create function public.edge_refresh_commit(
  user_id uuid, token_version bigint, access_token text, refresh_token text, access_expires_in integer, scope text
) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  connection public.user_integrations_zoom;
begin
  select * into connection from public.user_integrations_zoom
  where user_id = edge_refresh_commit.user_id for no key update;
  if not found then
    return '{"outcome": "refused"}';
  end if;
  if connection.access_token = edge_refresh_commit.access_token then
    return jsonb_build_object('outcome', 'saved', 'token_version', connection.token_version);
  end if;
  if connection.token_version <> edge_refresh_commit.token_version
    or connection.expired_reason = 'connected_elsewhere'
  then
    return '{"outcome": "superseded"}';
  end if;
  if connection.expired_reason is distinct from 'missing_scope' then
    connection.status := 'connected';
    connection.expired_reason := null;
    connection.expires_at := now() + interval '90 days';
  end if;
  update public.user_integrations_zoom set
    access_token = edge_refresh_commit.access_token, refresh_token = edge_refresh_commit.refresh_token,
    access_token_expires_at = now() + make_interval(secs => edge_refresh_commit.access_expires_in),
    scope = coalesce(nullif(edge_refresh_commit.scope, ''), scope),
    token_version = nextval('video_sessions_private.token_versions'), refreshed_at = now(),
    status = connection.status, expired_reason = connection.expired_reason, expires_at = connection.expires_at,
    lease_holder = null, lease_until = null, cooldown_until = null
  where user_id = edge_refresh_commit.user_id
  returning * into connection;
  return jsonb_build_object('outcome', 'saved', 'token_version', connection.token_version);
end
$$;

-- Records that a refresh came to nothing. With an `expired_reason` the connection has ended, without one nobody asks
-- Zoom for a while. If the tokens have changed meanwhile, this is about old ones and counts for nothing.
create function public.edge_refresh_fail(
  user_id uuid, holder uuid, token_version bigint, expired_reason text, cooldown_seconds integer
) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  connection public.user_integrations_zoom;
begin
  select * into connection from public.user_integrations_zoom
  where user_id = edge_refresh_fail.user_id for no key update;
  if connection.token_version is distinct from edge_refresh_fail.token_version then
    return '{"outcome": "superseded"}';
  end if;
  if edge_refresh_fail.expired_reason is not null then
    perform video_sessions_private.expire_connection(edge_refresh_fail.user_id, edge_refresh_fail.expired_reason);
  else
    update public.user_integrations_zoom set
      cooldown_until = now() + make_interval(secs => least(edge_refresh_fail.cooldown_seconds, 86400)),
      lease_holder = null, lease_until = null
    where user_id = edge_refresh_fail.user_id and lease_holder = edge_refresh_fail.holder;
  end if;
  return '{"outcome": "recorded"}';
end
$$;

-- Which connections are due for a refresh: those that will be needed within ten minutes (a session is about to start,
-- or the token that was used last is about to run out), and those that nobody has refreshed for 30 days.
create function video_sessions_private.connections_due() returns setof public.user_integrations_zoom
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

-- Connections whose refresh keeps failing are due again every minute. However many there are, they do not keep the
-- others from their turn, who would lapse.

create function public.edge_refresh_due(max_rows integer) returns jsonb
language sql stable security definer set search_path = ''
as $$
  select jsonb_build_object(
    'user_ids', coalesce(jsonb_agg(user_id) filter (where number <= max_rows), '[]'),
    'remaining', greatest(0, count(*) - max_rows)
  )
  -- Whoever would lapse first goes first, but after all others if a refresh has failed (`cooldown_until`) or was never
  -- heard of again (`lease_until`) since the last that succeeded: new tokens clear both. Among those, whoever has
  -- waited longest.
  from (
    select user_id, row_number() over (
      order by greatest(cooldown_until, lease_until) nulls first, expires_at, user_id
    ) as number
    from video_sessions_private.connections_due()
  ) as due
$$;
