-- Sealing keys change: what is sealed with an older one is sealed again.

-- Rotation of sealing keys: connections that are sealed with another key than `key_id`, and how many rows in all need
-- another one: revocations, consents that nobody has confirmed yet, and states on their way to the consent page are
-- gone within minutes.
create function public.edge_reseal_claim(key_id text, max_rows integer) returns jsonb
language sql stable security definer set search_path = ''
as $$
  with stale as (
    select user_id, token_version, access_token, refresh_token
    from public.user_integrations_zoom
    where not (starts_with(access_token, 'v1.' || key_id || '.') and starts_with(refresh_token, 'v1.' || key_id || '.'))
  )
  select jsonb_build_object(
    'connections', coalesce(
      (select jsonb_agg(to_jsonb(first)) from (select * from stale order by user_id limit max_rows) as first), '[]'
    ),
    'total', (select count(*) from stale) + (
      select count(*) from video_sessions_private.zoom_revocations
      where not (starts_with(access_token, 'v1.' || key_id || '.') and starts_with(refresh_token,
      'v1.' || key_id || '.'))
    ) + (
      select count(*) from video_sessions_private.pending_connections
      where not (starts_with(access_token, 'v1.' || key_id || '.') and starts_with(refresh_token,
      'v1.' || key_id || '.'))
    ) + (
      select count(*) from video_sessions_private.zoom_oauth_states
      where consumed_at is null and expires_at > now() and not starts_with(sealed_verifier, 'v1.' || key_id || '.')
    )
  )
$$;

-- Saves the same tokens under a new seal, unless they have changed meanwhile: then they carry the new seal already.
create function public.edge_reseal(
  user_id uuid, token_version bigint, old_refresh_token text, access_token text, refresh_token text
) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
begin
  update public.user_integrations_zoom set
    access_token = edge_reseal.access_token, refresh_token = edge_reseal.refresh_token
  where user_id = edge_reseal.user_id and token_version = edge_reseal.token_version
    and refresh_token = edge_reseal.old_refresh_token;
  return jsonb_build_object('outcome', case when found then 'resealed' else 'superseded' end);
end
$$;
