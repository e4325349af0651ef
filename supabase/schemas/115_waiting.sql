-- What Zoom does not know yet, for the host to see.

create function public.video_sessions_waiting()
returns table (session_id uuid, kind text, since timestamptz, reason text)
language sql stable security definer set search_path = ''
as $$
  with mine as (
    select task.session_id, task.kind, task.created_at, task.zoom_user_id, task.dead_at is not null as is_given_up,
      task.attempts > 0 as has_failed, task.last_code = 'meeting_running' as meeting_runs
    from video_sessions_private.zoom_outbox task
    where task.user_id = auth.uid()
    union all
    select creation.id, 'create', creation.created_at, creation.zoom_user_id, false, creation.state = 'unknown', false
    from video_sessions_private.session_creations creation
    where creation.user_id = auth.uid() and creation.state in ('running', 'unknown')
  )
  select mine.session_id, mine.kind, mine.created_at,
    case
      when connection.user_id is null then 'zoom_not_connected'
      when connection.status <> 'connected' or connection.expires_at <= now() then 'zoom_expired'
      when connection.zoom_user_id <> mine.zoom_user_id then 'zoom_other_account'
      when mine.is_given_up then 'given_up'
      when mine.kind = 'update' and connection.daily_limit_until > now() then 'zoom_daily_limit'
      when mine.meeting_runs then 'meeting_running'
      when mine.has_failed or connection.cooldown_until > now() then 'zoom_unavailable'
      else 'sending'
    end
  from mine left join public.user_integrations_zoom connection on connection.user_id = auth.uid()
$$;
comment on function public.video_sessions_waiting is
  'The caller''s changes that Zoom has not confirmed: kind create|update|delete|end; reason sending|zoom_unavailable|
meeting_running|zoom_daily_limit|zoom_not_connected|zoom_expired|zoom_other_account|given_up.';
