-- Connecting a Zoom account: a state on its way to Zoom's consent page and back, then a pending connection, then the
-- connection itself, once the user who asked for the consent page has confirmed it. Whoever opened that page need not
-- be that user, so what Zoom gives there connects nobody yet.

-- OAuth states on their way to Zoom's consent page and back: a hash, never the state itself.
create table video_sessions_private.zoom_oauth_states (
  state_hash text primary key,
  user_id uuid not null references auth.users (id) on delete cascade,
  sealed_verifier text not null,
  expires_at timestamptz not null,
  consumed_at timestamptz,
  -- The hash of the handle that belongs to the code that the state was consumed with.
  handle_hash text,
  result text,
  confirmed_at timestamptz,
  created_at timestamptz not null default now()
);
create index zoom_oauth_states_user_id_idx on video_sessions_private.zoom_oauth_states (user_id);
create index zoom_oauth_states_expires_at_idx on video_sessions_private.zoom_oauth_states (expires_at);
create unique index zoom_oauth_states_handle_hash_idx on video_sessions_private.zoom_oauth_states (handle_hash);

-- What Zoom gave at a consent that nobody has confirmed yet, for ten minutes; then zoom-sync revokes it. One for each
-- Zoom user: a newer consent ends the tokens of an older one at Zoom. It outlives its user's account, because its
-- tokens have to be revoked.
create table video_sessions_private.pending_connections (
  handle_hash text primary key,
  user_id uuid not null,
  zoom_user_id text not null unique,
  zoom_account_id text not null,
  zoom_account_email text,
  scope text not null,
  access_token text not null check (access_token like 'v1.%'),
  refresh_token text not null check (refresh_token like 'v1.%'),
  access_token_expires_at timestamptz not null,
  expires_at timestamptz not null,
  created_at timestamptz not null default now()
);
create index pending_connections_user_id_idx on video_sessions_private.pending_connections (user_id);
create index pending_connections_expires_at_idx on video_sessions_private.pending_connections (expires_at);

-- zoom-oauth-start: remembers a state for ten minutes. A user has five live ones at most; the oldest give way.
create function public.edge_oauth_begin(user_id uuid, state_hash text, sealed_verifier text) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  ends_at constant timestamptz := now() + interval '10 minutes';
  refusal jsonb;
begin
  if not video_sessions_private.may_host(edge_oauth_begin.user_id) then
    return '{"outcome": "not_a_host"}';
  end if;
  -- One at a time for each user, or each of many at once would count four live ones.
  refusal := video_sessions_private.use_quota('consents_an_hour', edge_oauth_begin.user_id);
  if refusal is not null then
    return refusal;
  end if;
  delete from video_sessions_private.zoom_oauth_states where state_hash in (
    select state_hash from video_sessions_private.zoom_oauth_states
    where user_id = edge_oauth_begin.user_id and consumed_at is null
    order by created_at desc offset 4
  );
  insert into video_sessions_private.zoom_oauth_states (state_hash, user_id, sealed_verifier, expires_at)
  values (edge_oauth_begin.state_hash, edge_oauth_begin.user_id, edge_oauth_begin.sealed_verifier, ends_at);
  return jsonb_build_object('outcome', 'ok', 'expires_at', ends_at);
end
$$;

-- zoom-oauth-callback, first: the first call with a state may exchange its code; the same call again learns what came
-- of it. A call with another code learns nothing: the user who asked for the consent page knows the state, and must not
-- come by the handle of somebody else's consent. `denied` is what Zoom said in place of a code; there is no handle
-- then.
create function public.edge_oauth_consume(state_hash text, handle_hash text, denied text) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  state video_sessions_private.zoom_oauth_states;
begin
  select * into state from video_sessions_private.zoom_oauth_states
  where state_hash = edge_oauth_consume.state_hash for update;
  if not found
    or state.consumed_at is not null and state.handle_hash is distinct from edge_oauth_consume.handle_hash
  then
    return '{"outcome": "unknown"}';
  end if;
  if state.result is not null then
    return jsonb_build_object('outcome', 'finished', 'result', state.result);
  end if;
  if state.consumed_at is not null then
    -- The call that consumed it has had more than enough time: it died.
    if state.consumed_at < now() - interval '2 minutes' then
      return '{"outcome": "expired"}';
    end if;
    return '{"outcome": "running"}';
  end if;
  if state.expires_at <= now() then
    return '{"outcome": "expired"}';
  end if;
  update video_sessions_private.zoom_oauth_states set
    consumed_at = now(), handle_hash = edge_oauth_consume.handle_hash, result = edge_oauth_consume.denied
  where state_hash = edge_oauth_consume.state_hash;
  if edge_oauth_consume.denied is not null then
    return jsonb_build_object('outcome', 'finished', 'result', edge_oauth_consume.denied);
  end if;
  return jsonb_build_object('outcome', 'claimed', 'user_id', state.user_id, 'sealed_verifier', state.sealed_verifier);
end
$$;

-- zoom-oauth-callback, in the end: why nothing was connected, for the same call again.
create function public.edge_oauth_fail(state_hash text, result text) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
begin
  update video_sessions_private.zoom_oauth_states set result = edge_oauth_fail.result
  where state_hash = edge_oauth_fail.state_hash and result is null;
  return '{"outcome": "recorded"}';
end
$$;

-- One decision about a Zoom user at a time, for the rest of the transaction.
create function video_sessions_private.lock_zoom_user(zoom_user text) returns void
language sql set search_path = ''
as $$
  select pg_advisory_xact_lock(hashtextextended('zoom_user ' || zoom_user, 0))
$$;

-- Connections of this Zoom user may have ended at Zoom without a word. The next use of one, or the next run of
-- zoom-sync, refreshes it and finds out.
create function video_sessions_private.refresh_soon(zoom_user text) returns void
language sql security definer set search_path = ''
as $$
  update public.user_integrations_zoom set access_token_expires_at = now(), used_at = now()
  where zoom_user_id = zoom_user and status = 'connected'
$$;

-- Saves a connection over what was there, old verdicts included. The same Zoom user under another app user loses it,
-- since Zoom has ended those tokens already. Needs the lock of the Zoom user.
create function video_sessions_private.save_connection(
  pending video_sessions_private.pending_connections
) returns void
language plpgsql security definer set search_path = ''
as $$
begin
  perform video_sessions_private.expire_connection(other.user_id, 'connected_elsewhere')
  from public.user_integrations_zoom other
  where other.zoom_user_id = pending.zoom_user_id and other.user_id <> pending.user_id;
  insert into public.user_integrations_zoom as connection (
    user_id, zoom_user_id, zoom_account_id, zoom_account_email, scope, access_token, refresh_token, token_version,
    access_token_expires_at, expires_at
  ) values (
    pending.user_id, pending.zoom_user_id, pending.zoom_account_id, pending.zoom_account_email, pending.scope,
    pending.access_token, pending.refresh_token, nextval('video_sessions_private.token_versions'),
    pending.access_token_expires_at, now() + interval '90 days'
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
  update video_sessions_private.zoom_oauth_states set confirmed_at = now() where handle_hash = pending.handle_hash;
end
$$;

-- zoom-oauth-callback, in the end: keeps what Zoom gave, until its user confirms it. A user who is connected as this
-- Zoom user already has nothing to confirm. `lacking_scope`: it can never be confirmed; zoom-sync decides how it ends.
-- May be repeated.
create function public.edge_oauth_complete(
  state_hash text, user_id uuid, zoom_user_id text, zoom_account_id text, zoom_account_email text, scope text,
  access_token text, refresh_token text, access_expires_in integer, lacking_scope boolean
) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  state video_sessions_private.zoom_oauth_states;
  pending video_sessions_private.pending_connections;
begin
  select * into state from video_sessions_private.zoom_oauth_states
  where state_hash = edge_oauth_complete.state_hash and user_id = edge_oauth_complete.user_id for update;
  if not found or state.handle_hash is null or state.result <> 'success' then
    return '{"outcome": "invalid_state"}';
  end if;
  if state.result = 'success' then
    return jsonb_build_object('outcome', case when state.confirmed_at is null then 'pending' else 'connected' end);
  end if;
  perform video_sessions_private.lock_zoom_user(edge_oauth_complete.zoom_user_id);
  -- Zoom has ended what it gave this Zoom user before: nobody confirms it any more, and nobody needs to revoke it.
  delete from video_sessions_private.pending_connections where zoom_user_id = edge_oauth_complete.zoom_user_id;
  delete from video_sessions_private.zoom_revocations where zoom_user_id = edge_oauth_complete.zoom_user_id;
  insert into video_sessions_private.pending_connections (
    handle_hash, user_id, zoom_user_id, zoom_account_id, zoom_account_email, scope, access_token, refresh_token,
    access_token_expires_at, expires_at
  ) values (
    state.handle_hash, edge_oauth_complete.user_id, edge_oauth_complete.zoom_user_id,
    edge_oauth_complete.zoom_account_id, edge_oauth_complete.zoom_account_email, edge_oauth_complete.scope,
    edge_oauth_complete.access_token, edge_oauth_complete.refresh_token,
    now() + make_interval(secs => edge_oauth_complete.access_expires_in),
    now() + case when edge_oauth_complete.lacking_scope then interval '0' else interval '10 minutes' end
  )
  returning * into pending;
  if edge_oauth_complete.lacking_scope then
    perform video_sessions_private.refresh_soon(pending.zoom_user_id);
    return '{"outcome": "pending"}';
  end if;
  update video_sessions_private.zoom_oauth_states set result = 'success'
  where state_hash = edge_oauth_complete.state_hash;
  if exists (
    select from public.user_integrations_zoom
    where user_id = pending.user_id and zoom_user_id = pending.zoom_user_id and status = 'connected'
  ) then
    delete from video_sessions_private.pending_connections where handle_hash = pending.handle_hash;
    perform video_sessions_private.save_connection(pending);
    return '{"outcome": "connected"}';
  end if;
  perform video_sessions_private.refresh_soon(pending.zoom_user_id);
  return '{"outcome": "pending"}';
end
$$;

-- The app, with what the way back from Zoom carried: makes the pending connection the caller's. Only the user who asked
-- for the consent page can. May be repeated.
create function public.confirm_zoom_connection(handle text) returns void
language plpgsql security definer set search_path = ''
as $$
declare
  hash constant text := video_sessions_private.hash(confirm_zoom_connection.handle);
  caller constant uuid := auth.uid();
  pending video_sessions_private.pending_connections;
begin
  if exists (
    select from video_sessions_private.zoom_oauth_states state
    where state.handle_hash = hash and state.user_id = caller and state.confirmed_at is not null
  ) then
    return;
  end if;
  -- The Zoom user's lock comes first, as everywhere; then the row decides between this and its end by zoom-sync.
  perform video_sessions_private.lock_zoom_user(p.zoom_user_id)
  from video_sessions_private.pending_connections p where p.handle_hash = hash and p.user_id = caller;
  delete from video_sessions_private.pending_connections p
  where p.handle_hash = hash and p.user_id = caller and p.expires_at > now()
  returning * into pending;
  if pending.handle_hash is null and not exists (
    -- The same call, twice at once.
    select from video_sessions_private.zoom_oauth_states state
    where state.handle_hash = hash and state.user_id = caller and state.confirmed_at is not null
  ) then
    raise sqlstate 'PGRST' using
      message = '{"code": "connection_not_confirmable", "message":'
        || ' "This connection cannot be completed: it is too old, or somebody else asked for it. Connect Zoom again."}',
      detail = '{"status": 404, "headers": {}}';
  end if;
  if pending.handle_hash is not null then
    perform video_sessions_private.save_connection(pending);
  end if;
end
$$;
comment on function public.confirm_zoom_connection is
  'Completes a connection with the handle that came back from Zoom. 404 connection_not_confirmable.';
