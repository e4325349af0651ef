-- A host's connection to Zoom. Each function for the service role (`edge_…`, here and in the files that follow) is one
-- step of an edge function and one transaction; it answers an object whose `outcome` says what happened. Tokens come
-- and go sealed.

-- A user's Zoom connection. It does not go with the user's account: the account's meetings have to be deleted at Zoom
-- and its tokens revoked first (see account_deleted_at).
create table public.user_integrations_zoom (
  user_id uuid primary key,
  zoom_user_id text not null,
  zoom_account_id text not null,
  -- Zoom does not always tell it.
  zoom_account_email text,
  scope text not null,
  access_token text,
  refresh_token text,
  access_token_expires_at timestamptz not null,
  expires_at timestamptz not null,
  status text not null default 'connected' check (status in ('connected', 'expired')),
  expired_reason text check (expired_reason in (
    'revoked', 'owner_gone', 'disabled_by_admin', 'superseded', 'missing_scope', 'connected_elsewhere', 'idle'
  )),
  token_version bigint not null default 1,
  refreshed_at timestamptz not null default now(),
  used_at timestamptz not null default now(),
  lease_holder uuid,
  lease_until timestamptz,
  cooldown_until timestamptz,
  daily_limit_until timestamptz,
  account_deleted_at timestamptz,
  connected_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  check (status = 'expired' or (access_token is not null and refresh_token is not null)),
  check ((status = 'expired') = (expired_reason is not null)),
  -- Sealed by the functions, or not stored at all.
  check (access_token like 'v1.%' and refresh_token like 'v1.%')
)
-- Room on each page for new versions of its rows: most updates change no index then.
with (fillfactor = 70);
create index user_integrations_zoom_zoom_user_id_idx on public.user_integrations_zoom (zoom_user_id, zoom_account_id);
create index user_integrations_zoom_refreshed_at_idx on public.user_integrations_zoom (refreshed_at)
where status = 'connected';
create index user_integrations_zoom_access_token_expires_at_idx
  on public.user_integrations_zoom (access_token_expires_at) where status = 'connected';
create index user_integrations_zoom_account_deleted_at_idx
  on public.user_integrations_zoom (account_deleted_at) where account_deleted_at is not null;
comment on table public.user_integrations_zoom is
  'Zoom connections. Tokens are sealed (AES-256-GCM) by the functions, and no client role is granted their columns.';
comment on column public.user_integrations_zoom.expires_at is
  'When the connection lapses unless it is used: about 90 days after the last refresh.';
comment on column public.user_integrations_zoom.token_version is
  'Counts every change of the tokens; new tokens are saved by compare-and-swap on it.';
comment on column public.user_integrations_zoom.lease_holder is 'The request that is refreshing, until lease_until.';
comment on column public.user_integrations_zoom.cooldown_until is
  'Until then nobody asks Zoom''s token endpoint: it failed a moment ago.';
comment on column public.user_integrations_zoom.daily_limit_until is
  'Zoom has refused more changes of meetings for the day: none is sent before this.';
comment on column public.user_integrations_zoom.used_at is 'When a function last took an access token to use it.';
comment on column public.user_integrations_zoom.account_deleted_at is
  'The user is gone: zoom-sync deletes the meetings, revokes the tokens, removes this row.';
create trigger touch before update on public.user_integrations_zoom for each row
execute function video_sessions_private.touch();

-- Versions of tokens. None comes twice, so that a late word about the tokens of a connection that has gone is never
-- taken for one about those of the connection that came after it.
create sequence video_sessions_private.token_versions;

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
    'state',
    case when connection.status = 'connected' and connection.expires_at > now() then 'connected' else 'expired' end,
    'zoom_account_email', connection.zoom_account_email,
    'expires_at', connection.expires_at,
    'reason',
    coalesce(connection.expired_reason, case when connection.expires_at <= now() then 'idle' end)
  );
end
$$;
comment on function public.zoom_connection is
  '{state: not_connected|connected|expired, zoom_account_email, expires_at, reason} of the caller.';

-- Ends a connection without removing it: the host has to reconnect, and is told why. Tokens that are dead are not kept;
-- those that only lack a scope still live at Zoom and are needed to revoke them.
create function video_sessions_private.expire_connection(target uuid, reason text) returns void
language sql security definer set search_path = ''
as $$
  update public.user_integrations_zoom set
    status = 'expired', expired_reason = reason, expires_at = least(expires_at, now()),
    access_token = case when reason = 'missing_scope' then access_token end,
    refresh_token = case when reason = 'missing_scope' then refresh_token end,
    lease_holder = null, lease_until = null, cooldown_until = null
  where user_id = target and status = 'connected'
$$;

-- Records that the API itself said that the connection has ended (a missing scope, a user that is gone).
create function public.edge_connection_expire(user_id uuid, token_version bigint, reason text) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  connection public.user_integrations_zoom;
begin
  select * into connection from public.user_integrations_zoom
  where user_id = edge_connection_expire.user_id for no key update;
  if connection.token_version is distinct from edge_connection_expire.token_version then
    return '{"outcome": "superseded"}';
  end if;
  perform video_sessions_private.expire_connection(edge_connection_expire.user_id, edge_connection_expire.reason);
  return '{"outcome": "recorded"}';
end
$$;
