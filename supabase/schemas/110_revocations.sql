-- The end of a connection: the host disconnects, removes the app at Zoom, or deletes the account.

-- The tokens of connections that were ended, until they are revoked at Zoom: out of everybody else's reach.
create table video_sessions_private.zoom_revocations (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null,
  zoom_user_id text not null,
  access_token text not null check (access_token like 'v1.%'),
  refresh_token text not null check (refresh_token like 'v1.%'),
  access_token_expires_at timestamptz not null,
  claimed_until timestamptz not null,
  created_at timestamptz not null default now()
);
create index zoom_revocations_claimed_until_idx on video_sessions_private.zoom_revocations (claimed_until);
create index zoom_revocations_user_id_idx on video_sessions_private.zoom_revocations (user_id);
create index zoom_revocations_zoom_user_id_idx on video_sessions_private.zoom_revocations (zoom_user_id);
create index zoom_revocations_created_at_idx on video_sessions_private.zoom_revocations (created_at);

-- Revocations of ours that Zoom was or will be asked for. Zoom answers each by `app_deauthorized`, at some time. Of the
-- Zoom user a hash: nothing of somebody who has left stays here.
create table video_sessions_private.revocation_echoes (
  id uuid primary key default gen_random_uuid(),
  zoom_user_hash text not null,
  expected_at timestamptz not null default now()
);
create index revocation_echoes_zoom_user_hash_idx on video_sessions_private.revocation_echoes (zoom_user_hash);
create index revocation_echoes_expected_at_idx on video_sessions_private.revocation_echoes (expected_at);

-- Takes a connection out of everybody's reach: its tokens move to the revocations, its states go. A revocation takes
-- the app away from that Zoom user altogether, so there is no revocation while another app user is connected as the
-- same.
create function video_sessions_private.revoke_connection(connection public.user_integrations_zoom)
returns video_sessions_private.zoom_revocations
language plpgsql security definer set search_path = ''
as $$
declare
  revocation video_sessions_private.zoom_revocations;
begin
  delete from public.user_integrations_zoom where user_id = connection.user_id;
  delete from video_sessions_private.zoom_oauth_states where user_id = connection.user_id and consumed_at is null;
  if connection.access_token is not null and not exists (
    select from public.user_integrations_zoom where zoom_user_id = connection.zoom_user_id and status = 'connected'
  ) then
    insert into video_sessions_private.revocation_echoes (zoom_user_hash)
    values (video_sessions_private.hash(connection.zoom_user_id));
    insert into video_sessions_private.zoom_revocations (user_id, zoom_user_id, access_token, refresh_token,
    access_token_expires_at, claimed_until)
    values (
      connection.user_id, connection.zoom_user_id, connection.access_token, connection.refresh_token,
      connection.access_token_expires_at, now() + interval '2 minutes'
    )
    returning * into revocation;
  end if;
  return revocation;
end
$$;

create function video_sessions_private.revocation_as_json(revocation video_sessions_private.zoom_revocations)
returns jsonb
language sql stable set search_path = ''
as $$
  select jsonb_build_object(
    'revocation_id', revocation.id, 'user_id', revocation.user_id,
    'access_token', revocation.access_token, 'refresh_token', revocation.refresh_token,
    'fresh', revocation.access_token_expires_at > now() + interval '1 minute'
  )
$$;

-- What Zoom still has to be told of a user's sessions, and creations of which nobody knows what became: by count.
create function video_sessions_private.left_at_zoom(owner uuid) returns jsonb
language sql stable security definer set search_path = ''
as $$
  select jsonb_build_object(
    'changes', count(*) filter (where kind = 'update'),
    'deletions', count(*) filter (
      where kind = 'delete' or kind = 'end' and video_sessions_private.is_running(session_id)
    ),
    'creations', (
      select count(*) from video_sessions_private.session_creations
      where user_id = owner and state in ('running', 'unknown')
    )
  ) from video_sessions_private.zoom_outbox where user_id = owner
$$;

-- zoom-disconnect, first. With mode `if_drained` only if Zoom knows all of this host's changes, with `always` anyway;
-- `left_at_zoom` says what it does not know.
create function public.edge_disconnect_begin(user_id uuid, mode text) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  connection public.user_integrations_zoom;
  revocation video_sessions_private.zoom_revocations;
  left_there jsonb;
begin
  -- A consent that nobody confirms any more goes as if its time were over.
  update video_sessions_private.pending_connections set expires_at = least(expires_at, now())
  where user_id = edge_disconnect_begin.user_id;
  select * into connection from public.user_integrations_zoom where user_id = edge_disconnect_begin.user_id for update;
  left_there := video_sessions_private.left_at_zoom(edge_disconnect_begin.user_id);
  if connection.user_id is null then
    return jsonb_build_object('outcome', 'not_connected', 'left_at_zoom', left_there);
  end if;
  if edge_disconnect_begin.mode = 'if_drained' and connection.status = 'connected'
    and (
      exists (
        select from video_sessions_private.zoom_outbox
        where user_id = edge_disconnect_begin.user_id and dead_at is null
      )
      or exists (
        select from video_sessions_private.session_creations open_creation
        where user_id = edge_disconnect_begin.user_id and state in ('running', 'unknown')
          and zoom_user_id = connection.zoom_user_id and video_sessions_private.is_unclear(open_creation)
      )
    )
  then
    return '{"outcome": "pending"}';
  end if;
  revocation := video_sessions_private.revoke_connection(connection);
  if revocation.id is null then
    return jsonb_build_object('outcome', 'not_connected', 'left_at_zoom', left_there);
  end if;
  return jsonb_build_object(
    'outcome', 'revoke', 'left_at_zoom', left_there, 'revocation', video_sessions_private.revocation_as_json(revocation)
  );
end
$$;

-- zoom-disconnect, last: the tokens are revoked, or Zoom is down; either way they go.
create function public.edge_disconnect_complete(revocation_id uuid) returns jsonb
language plpgsql security definer set search_path = ''
as $$
begin
  delete from video_sessions_private.zoom_revocations where id = edge_disconnect_complete.revocation_id;
  return '{"outcome": "forgotten"}';
end
$$;

-- A Zoom user has removed the app: connection and data of that user go. If the word may be the echo of a revocation of
-- ours, or names another account than the one that is known, it ends nothing by itself: a refresh finds out what is
-- true. A connection that was made later is another one.
create function video_sessions_private.deauthorize(zoom_user text, zoom_account text,
deauthorized_at timestamptz) returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  ended integer := 0;
begin
  perform video_sessions_private.lock_zoom_user(zoom_user);
  delete from video_sessions_private.zoom_revocations where zoom_user_id = zoom_user and created_at < deauthorized_at;
  delete from video_sessions_private.revocation_echoes where id = (
    select id from video_sessions_private.revocation_echoes
    where zoom_user_hash = video_sessions_private.hash(zoom_user)
      and expected_at between deauthorized_at - interval '1 hour' and deauthorized_at + interval '5 minutes'
    order by expected_at limit 1
  );
  if not found then
    -- The feed tells of connections that expire.
    perform video_sessions_private.expire_connection(user_id, 'revoked') from public.user_integrations_zoom
    where zoom_user_id = zoom_user and zoom_account_id = zoom_account and connected_at < deauthorized_at;
    delete from public.user_integrations_zoom
    where zoom_user_id = zoom_user and zoom_account_id = zoom_account and connected_at < deauthorized_at;
    get diagnostics ended = row_count;
    delete from video_sessions_private.pending_connections
    where zoom_user_id = zoom_user and created_at < deauthorized_at;
  end if;
  perform video_sessions_private.refresh_soon(zoom_user);
  delete from video_sessions_private.zoom_accounts known
  where zoom_user_id = zoom_user and not exists (
    select from public.user_integrations_zoom where user_id = known.user_id and zoom_user_id = zoom_user
  );
  return jsonb_build_object('outcome', case when ended > 0 then 'deauthorized' else 'ignored' end);
end
$$;

-- An account is deleted: its sessions go by their foreign key, and their meetings by the outbox; its connection stays
-- as long as that takes.
create function video_sessions_private.account_deleted() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  update public.user_integrations_zoom set account_deleted_at = now() where user_id = old.id;
  update video_sessions_private.pending_connections set expires_at = least(expires_at, now()) where user_id = old.id;
  delete from video_sessions_private.session_creations where user_id = old.id and state in ('done', 'failed');
  return null;
end
$$;
create trigger video_sessions_account_deleted after delete on auth.users
for each row execute function video_sessions_private.account_deleted();

-- Connections of deleted accounts that can leave: nothing of theirs is on its way to Zoom any more, or never will be,
-- or a day is over.
create function video_sessions_private.connections_leaving() returns setof public.user_integrations_zoom
language sql stable security definer set search_path = ''
as $$
  select * from public.user_integrations_zoom leaving
  where account_deleted_at is not null and (
    status = 'expired' or account_deleted_at < now() - interval '1 day'
    or not exists (select from video_sessions_private.zoom_outbox where user_id = leaving.user_id and dead_at is null)
      and not exists (
        select from video_sessions_private.session_creations
        where user_id = leaving.user_id and state in ('running', 'unknown')
      )
  )
$$;

-- zoom-sync: claims connections that were left and not revoked yet, those of deleted accounts among them, and consents
-- that nobody has confirmed in time.
create function public.edge_revocations_claim(max_rows integer) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  leaving uuid;
  connection public.user_integrations_zoom;
  pending video_sessions_private.pending_connections;
  claimed jsonb;
begin
  for pending in
    select * from video_sessions_private.pending_connections where expires_at <= now()
    order by expires_at limit edge_revocations_claim.max_rows
  loop
    -- Somebody is deciding about this Zoom user: the next run comes soon enough.
    continue when not pg_try_advisory_xact_lock(hashtextextended('zoom_user ' || pending.zoom_user_id, 0));
    delete from video_sessions_private.pending_connections where handle_hash = pending.handle_hash;
    continue when not found;
    if exists (
      select from public.user_integrations_zoom where zoom_user_id = pending.zoom_user_id and status = 'connected'
    ) then
      -- A revocation would end that connection. It may have ended at the consent already: a refresh finds out.
      perform video_sessions_private.refresh_soon(pending.zoom_user_id);
    else
      insert into video_sessions_private.revocation_echoes (zoom_user_hash)
      values (video_sessions_private.hash(pending.zoom_user_id));
      insert into video_sessions_private.zoom_revocations (user_id, zoom_user_id, access_token, refresh_token,
      access_token_expires_at, claimed_until)
      values (
        pending.user_id, pending.zoom_user_id, pending.access_token, pending.refresh_token,
        pending.access_token_expires_at, now()
      );
    end if;
  end loop;
  foreach leaving in array array(
    select user_id from video_sessions_private.connections_leaving() limit edge_revocations_claim.max_rows
  ) loop
    select * into connection from public.user_integrations_zoom
    where user_id = leaving and account_deleted_at is not null
    for update skip locked;
    continue when not found;
    perform video_sessions_private.revoke_connection(connection);
    delete from video_sessions_private.zoom_outbox where user_id = connection.user_id;
    update video_sessions_private.zoom_revocations set claimed_until = now() where user_id = connection.user_id;
  end loop;
  with due as (
    select id from video_sessions_private.zoom_revocations where claimed_until <= now()
    order by claimed_until limit edge_revocations_claim.max_rows
    for update skip locked
  ), claims as (
    update video_sessions_private.zoom_revocations set claimed_until = now() + interval '2 minutes'
    from due where zoom_revocations.id = due.id
    returning zoom_revocations.*
  )
  select coalesce(jsonb_agg(video_sessions_private.revocation_as_json(claims)), '[]') into claimed from claims;
  return jsonb_build_object('revocations', claimed);
end
$$;
