-- Quotas: how much one user may do. No person meets them; a program that runs wild does. They are rows of one table, so
-- that an operator changes them in one place:
-- `update video_sessions_private.quotas set most = 5000 where name = 'sessions_to_come'`.

create table video_sessions_private.quotas (
  name text primary key,
  most integer not null check (most > 0),
  -- What is said to whoever has reached it, in one sentence that ends with what to do.
  sentence text not null
);
insert into video_sessions_private.quotas (name, most, sentence) values
('sessions_to_come', 2000, 'You have as many sessions to come as there can be. Cancel some before you create more.'),
('creations_an_hour', 300, 'You have created very many sessions within an hour. Try again later.'),
('guests_an_hour', 1500, 'You have invited very many people within an hour. Try again later.'),
('consents_an_hour', 60, 'You have begun to connect Zoom very often within an hour. Try again later.');

-- What a user has used of the hourly ones.
create table video_sessions_private.quota_uses (
  user_id uuid not null references auth.users (id) on delete cascade,
  quota text not null references video_sessions_private.quotas (name),
  used integer not null,
  window_started_at timestamptz not null,
  primary key (user_id, quota)
);
create index quota_uses_window_started_at_idx on video_sessions_private.quota_uses (window_started_at);

-- How a quota that is reached is told: `retry_after_seconds` from now it may be tried again.
create function video_sessions_private.quota_reached(quota text, retry_after_seconds integer) returns jsonb
language sql stable security definer set search_path = ''
as $$
  select jsonb_build_object(
    'outcome', 'quota_reached', 'sentence', sentence, 'retry_after_seconds', quota_reached.retry_after_seconds
  )
  from video_sessions_private.quotas where name = quota_reached.quota
$$;

-- Counts one more of what a user may do so often an hour. Null while that is within the quota, else what to answer:
-- what is refused does not count. Those of one user take turns until their transactions end.
create function video_sessions_private.use_quota(quota text, who uuid) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  window_length constant interval := '1 hour';
  most constant integer := (select q.most from video_sessions_private.quotas q where q.name = use_quota.quota);
  use video_sessions_private.quota_uses;
begin
  insert into video_sessions_private.quota_uses as known (user_id, quota, used, window_started_at)
  values (use_quota.who, use_quota.quota, 0, now())
  on conflict (user_id, quota) do update set
    used = case when known.window_started_at < now() - window_length then 0 else known.used end,
    window_started_at = case
      when known.window_started_at < now() - window_length then now() else known.window_started_at
    end
  returning * into use;
  if use.used >= most then
    return video_sessions_private.quota_reached(
      use_quota.quota,
      greatest(1, ceil(extract(epoch from use.window_started_at + window_length - now()))::integer)
    );
  end if;
  update video_sessions_private.quota_uses known set used = known.used + 1
  where known.user_id = use_quota.who and known.quota = use_quota.quota;
  return null;
end
$$;

-- Null while `amount` more sessions to come are within a host's quota, else what to answer.
create function video_sessions_private.check_sessions_to_come(host uuid, amount integer) returns jsonb
language sql stable security definer set search_path = ''
as $$
  select video_sessions_private.quota_reached(quota.name, 3600)
  from video_sessions_private.quotas quota
  where quota.name = 'sessions_to_come' and quota.most < amount + (
    select count(*) from (
      select from public.video_sessions
      where host_id = host and scheduled_start > now() and status = 'scheduled'
      limit quota.most + 1
    ) as to_come
  )
$$;

-- Refuses a statement of the app's, with 429 and `Retry-After`.
create function video_sessions_private.refuse_beyond_quota(refusal jsonb) returns void
language plpgsql set search_path = ''
as $$
begin
  if refusal is not null then
    raise sqlstate 'PGRST' using
      message = jsonb_build_object('code', 'quota_reached', 'message', refusal ->> 'sentence')::text,
      detail = jsonb_build_object(
        'status', 429, 'headers', jsonb_build_object('Retry-After', refusal ->> 'retry_after_seconds')
      )::text;
  end if;
end
$$;

-- Row by row, so that a statement with thousands of them ends early.
create function video_sessions_private.count_new_session() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  if video_sessions_private.is_app() then
    perform video_sessions_private.refuse_beyond_quota(
      video_sessions_private.use_quota('creations_an_hour', auth.uid())
    );
  end if;
  return new;
end
$$;
create trigger count_new_session before insert on public.video_sessions
for each row execute function video_sessions_private.count_new_session();

create function video_sessions_private.count_sessions_to_come() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  if video_sessions_private.is_app() then
    perform video_sessions_private.refuse_beyond_quota(
      video_sessions_private.check_sessions_to_come(auth.uid(), 0)
    );
  end if;
  return null;
end
$$;
create trigger count_sessions_to_come after insert on public.video_sessions
for each statement execute function video_sessions_private.count_sessions_to_come();

create function video_sessions_private.count_new_guest() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  if new.role = 'participant' and video_sessions_private.is_app() then
    perform video_sessions_private.refuse_beyond_quota(
      video_sessions_private.use_quota('guests_an_hour', auth.uid())
    );
  end if;
  return new;
end
$$;
create trigger count_new_guest before insert on public.video_session_participants
for each row execute function video_sessions_private.count_new_guest();
