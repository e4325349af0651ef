-- What has run out is removed, what time has changed is written down, and what zoom-sync has to do is said.

-- Outbox rows whose host never came back to Zoom.
create function video_sessions_private.changes_nobody_sends() returns setof bigint
language sql stable security definer set search_path = ''
as $$
  select id from video_sessions_private.zoom_outbox task
  where created_at < now() - interval '90 days' and not exists (
    select from public.user_integrations_zoom where user_id = task.user_id and status = 'connected'
  )
$$;

-- zoom-sync: removes what has run out, a thousand rows of each kind at most, and settles the sessions that are over by
-- now. `more`: there may be more.
create function public.edge_purge() returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  start_urls integer;
  removed integer;
  most integer := 0;
  settled jsonb;
begin
  delete from public.video_session_host_meta where session_id in (
    select session_id from public.video_session_host_meta where expires_at <= now() limit 1000 for update skip locked
  );
  get diagnostics start_urls = row_count;
  delete from video_sessions_private.zoom_oauth_states where state_hash in (
    select state_hash from video_sessions_private.zoom_oauth_states where expires_at < now() - interval '1 day' limit 1000
    for update skip locked
  );
  get diagnostics removed = row_count;
  most := greatest(most, removed);
  delete from video_sessions_private.revocation_echoes where id in (
    select id from video_sessions_private.revocation_echoes where expected_at < now() - interval '1 day' limit 1000
    for update skip locked
  );
  get diagnostics removed = row_count;
  most := greatest(most, removed);
  delete from video_sessions_private.session_creations where id in (
    select id from video_sessions_private.session_creations where closed_at < now() - interval '7 days' limit 1000
    for update skip locked
  );
  get diagnostics removed = row_count;
  most := greatest(most, removed);
  delete from video_sessions_private.webhook_events where event_id in (
    select event_id from video_sessions_private.webhook_events where received_at < now() - interval '7 days' limit 1000
    for update skip locked
  );
  get diagnostics removed = row_count;
  most := greatest(most, removed);
  update video_sessions_private.webhook_events set details = null where event_id in (
    select event_id from video_sessions_private.webhook_events
    where details is not null and received_at < now() - interval '1 day' limit 1000
    for update skip locked
  );
  get diagnostics removed = row_count;
  most := greatest(most, removed);
  delete from video_sessions_private.share_code_misses where user_id in (
    select user_id from video_sessions_private.share_code_misses where window_started_at < now() - interval '1 day'
    limit 1000 for update skip locked
  );
  get diagnostics removed = row_count;
  most := greatest(most, removed);
  delete from video_sessions_private.quota_uses where (user_id, quota) in (
    select user_id, quota from video_sessions_private.quota_uses where window_started_at < now() - interval '1 day'
    limit 1000 for update skip locked
  );
  get diagnostics removed = row_count;
  most := greatest(most, removed);
  delete from public.video_session_events where id in (
    select id from public.video_session_events where created_at < now() - interval '30 days' limit 1000
    for update skip locked
  );
  get diagnostics removed = row_count;
  most := greatest(most, removed);
  -- Revoking has failed for a week, though it is tried every other minute: the tokens have to go all the same.
  delete from video_sessions_private.zoom_revocations where id in (
    select id from video_sessions_private.zoom_revocations where created_at < now() - interval '7 days' limit 1000
    for update skip locked
  );
  get diagnostics removed = row_count;
  most := greatest(most, removed);
  delete from video_sessions_private.zoom_outbox where id in (
    select * from video_sessions_private.changes_nobody_sends() limit 1000
  );
  get diagnostics removed = row_count;
  settled := public.edge_sessions_settle(500);
  return jsonb_build_object(
    'start_urls', start_urls, 'sessions', settled -> 'settled',
    'more', greatest(most, removed, start_urls) >= 1000 or (settled -> 'more')::boolean
  );
end
$$;

-- zoom-sync, first: what there is to do, part by part. An idle run asks nothing else.
create function public.edge_sync_due() returns jsonb
language sql security definer set search_path = ''
as $$
  insert into video_sessions_private.clock (ran_at) values (now())
  on conflict (only_row) do update set ran_at = excluded.ran_at;
  select jsonb_build_object(
    'outbox', exists (
      select from video_sessions_private.zoom_outbox
      where dead_at is null and greatest(next_attempt_at, claimed_until) <= now()
    ),
    'creations', exists (
      select from video_sessions_private.session_creations
      where state in ('running', 'unknown') and next_check_at <= now()
    ),
    'revocations', exists (select from video_sessions_private.zoom_revocations where claimed_until <= now())
      or exists (select from video_sessions_private.pending_connections where expires_at <= now())
      or exists (select from video_sessions_private.connections_leaving()),
    'connections', exists (select from video_sessions_private.connections_due()),
    'purge', exists (select from public.video_session_host_meta where expires_at <= now())
      or exists (select from video_sessions_private.session_life where next_at <= now())
      or exists (select from video_sessions_private.zoom_oauth_states where expires_at < now() - interval '1 day')
      or exists (
        select from video_sessions_private.revocation_echoes where expected_at < now() - interval '1 day'
      )
      or exists (select from public.video_session_events where created_at < now() - interval '30 days')
      or exists (select from video_sessions_private.session_creations where closed_at < now() - interval '7 days')
      or exists (select from video_sessions_private.webhook_events where received_at < now() - interval '7 days')
      or exists (
        select from video_sessions_private.webhook_events
        where details is not null and received_at < now() - interval '1 day'
      )
      or exists (
        select from video_sessions_private.share_code_misses where window_started_at < now() - interval '1 day'
      )
      or exists (select from video_sessions_private.quota_uses where window_started_at < now() - interval '1 day')
      or exists (select from video_sessions_private.zoom_revocations where created_at < now() - interval '7 days')
      or exists (select from video_sessions_private.changes_nobody_sends()),
    'watch', exists (select from video_sessions_private.watched_sessions where ask_at <= now())
      or exists (select from video_sessions_private.watched_hosts where list_at <= now())
  )
$$;
