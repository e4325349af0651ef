-- How an installation is: what `video-sessions doctor` and an operator's daily look ask for.

-- The release that this schema belongs to.
create function video_sessions_private.version() returns text
language sql immutable set search_path = ''
as $$ select '0.1.0' $$;

-- When zoom-sync ran last: one row.
create table video_sessions_private.clock (
  only_row boolean primary key default true check (only_row),
  ran_at timestamptz not null
);

-- What the installation had to say, line by line: the CLI and the dashboard's editor show no notices.
create table video_sessions_private.installation (
  number integer generated always as identity primary key,
  line text not null
);

-- doctor: counts and ages, nothing of anybody's.
create function public.edge_health() returns jsonb
language sql stable security definer set search_path = ''
as $$
  select jsonb_build_object(
    'version', video_sessions_private.version(),
    'seconds_since_sync',
    (select floor(extract(epoch from now() - ran_at))::integer from video_sessions_private.clock),
    'dead_letters', (select count(*) from video_sessions_private.zoom_outbox where dead_at is not null),
    'late_changes', (
      select count(*) from video_sessions_private.zoom_outbox task
      join public.user_integrations_zoom connection on connection.user_id = task.user_id
        and connection.status = 'connected'
        and connection.zoom_user_id = coalesce(task.zoom_user_id, connection.zoom_user_id)
      where task.dead_at is null and task.next_attempt_at < now() - interval '10 minutes'
        and (
          task.kind = 'delete' or connection.daily_limit_until is null or connection.daily_limit_until <= now()
        )
    ),
    'open_creations', (
      select count(*) from video_sessions_private.session_creations
      where state in ('running', 'unknown') and created_at < now() - interval '15 minutes'
    ),
    'late_revocation', (
      select count(*) from video_sessions_private.zoom_revocations where created_at < now() - interval '15 minutes'
    )
  )
$$;
