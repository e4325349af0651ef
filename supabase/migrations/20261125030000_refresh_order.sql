-- Connections whose refresh keeps failing are due again every minute. However many there are, they do not keep the others from
-- their turn, who would lapse.

create or replace function public.zoom_refresh_due(max_rows integer) returns jsonb
language sql stable security definer set search_path = ''
as $$
  select jsonb_build_object(
    'user_ids', coalesce(jsonb_agg(user_id) filter (where number <= max_rows), '[]'),
    'remaining', greatest(0, count(*) - max_rows)
  )
  -- Whoever would lapse first goes first, but after all others if a refresh has failed (`cooldown_until`) or was never heard
  -- of again (`lease_until`) since the last that succeeded: new tokens clear both. Among those, whoever has waited longest.
  from (
    select user_id, row_number() over (
      order by greatest(cooldown_until, lease_until) nulls first, expires_at, user_id
    ) as number
    from private.due_connections()
  ) as due
$$;
