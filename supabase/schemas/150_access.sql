-- Who may do what: revoke first, then grant, then row-level security. Default is no access.

revoke all on
  public.video_sessions, public.video_session_invites, public.video_session_host_meta,
  public.video_session_participants, public.user_integrations_zoom, public.video_session_events
from public, anon, authenticated, service_role;
-- A project may give everybody new sequences, too.
revoke all on sequence public.video_session_events_id_seq from public, anon, authenticated, service_role;
revoke all on all tables in schema video_sessions_private from public, anon, authenticated, service_role;
grant select, delete on public.video_sessions to authenticated;
grant insert (host_id, provider, title, description, scheduled_start, timezone, duration_minutes, max_participants,
join_url)
  on public.video_sessions to authenticated;
grant update (title, description, scheduled_start, timezone, duration_minutes, max_participants, status, join_url,
updated_at)
  on public.video_sessions to authenticated;
grant select on public.video_session_host_meta, public.video_session_invites to authenticated;
grant select, insert (session_id, user_id, role), delete on public.video_session_participants to authenticated;

-- Column by column: a column that is added later stays closed until somebody opens it.
grant select (user_id, zoom_account_email, status, expires_at, connected_at, updated_at)
  on public.user_integrations_zoom to authenticated;
grant select on public.video_session_events to authenticated;
grant select, insert, update, delete on
  public.video_sessions, public.video_session_invites, public.video_session_host_meta,
  public.video_session_participants, public.user_integrations_zoom, public.video_session_events
to service_role;
alter table public.video_session_events enable row level security;
alter table public.video_sessions enable row level security;
alter table public.video_session_invites enable row level security;
alter table public.video_session_host_meta enable row level security;
alter table public.video_session_participants enable row level security;
alter table public.user_integrations_zoom enable row level security;
alter table video_sessions_private.time_zones enable row level security;
alter table video_sessions_private.watched_sessions enable row level security;
alter table video_sessions_private.watched_hosts enable row level security;
alter table video_sessions_private.zoom_accounts enable row level security;
alter table video_sessions_private.zoom_oauth_states enable row level security;
alter table video_sessions_private.pending_connections enable row level security;
alter table video_sessions_private.revocation_echoes enable row level security;
alter table video_sessions_private.session_creations enable row level security;
alter table video_sessions_private.zoom_meetings enable row level security;
alter table video_sessions_private.zoom_outbox enable row level security;
alter table video_sessions_private.meeting_instances enable row level security;
alter table video_sessions_private.session_life enable row level security;
alter table video_sessions_private.zoom_revocations enable row level security;
alter table video_sessions_private.webhook_events enable row level security;
alter table video_sessions_private.share_code_misses enable row level security;
alter table video_sessions_private.removed_participants enable row level security;
alter table video_sessions_private.quotas enable row level security;
alter table video_sessions_private.quota_uses enable row level security;
alter table video_sessions_private.clock enable row level security;
alter table video_sessions_private.installation enable row level security;

-- Whether a user may host. `profiles.role` or `providers.provider_type` decide where the app has them, else the role
-- that the project's own server put into the account (`raw_app_meta_data`, which users cannot change). Users learn it
-- of themselves only.
create function public.can_host_video_sessions(user_id uuid) returns boolean
language plpgsql stable security definer set search_path = ''
as $$
declare
  source record;
  found_source boolean := false;
  hosts boolean;
begin
  if user_id is null or (auth.uid() is not null and auth.uid() <> user_id) then
    return false;
  end if;
  for source in
    select c.oid::regclass as table_name, role_column.attname as role_column, key_column.attname as key_column
    from (values ('public.profiles', 'role'), ('public.providers', 'provider_type')) as known (table_name, column_name)
    join pg_catalog.pg_class c on c.oid = to_regclass(known.table_name)
    join pg_catalog.pg_attribute role_column
      on role_column.attrelid = c.oid and role_column.attname = known.column_name and not role_column.attisdropped
    cross join lateral (
      select attname from pg_catalog.pg_attribute
      where attrelid = c.oid and attname in ('user_id', 'id') and not attisdropped
      order by attname desc limit 1
    ) as key_column
  loop
    found_source := true;
    execute format(
      'select exists (select from %s where %I = $1 and %I::text in (''trainer'', ''nutritionist''))',
      source.table_name, source.key_column, source.role_column
    ) into hosts using user_id;
    if hosts then
      return true;
    end if;
  end loop;
  return not found_source and exists (
    select from auth.users
    where id = can_host_video_sessions.user_id and raw_app_meta_data ->> 'role' in ('trainer', 'nutritionist')
  );
end
$$;
comment on function public.can_host_video_sessions is
  'Whether a user may host sessions. Replace it to make another rule.';

-- Whether a user may host now: by the app's rule, and neither banned nor signed in anonymously, whatever that rule
-- says.
create function video_sessions_private.may_host(host uuid) returns boolean
language sql stable security definer set search_path = ''
as $$
  select public.can_host_video_sessions(host) and exists (
    select from auth.users where id = host and (banned_until is null or banned_until <= now()) and not is_anonymous
  )
$$;

-- The sessions that the caller is a guest of: an array, read once a query, so that `= any (…)` uses an index; and a
-- definer, so that no policy runs into another one. The caller's own sessions are found by `host_id`, without a list.
create function video_sessions_private.participating_session_ids() returns uuid[]
language sql stable security definer set search_path = ''
as $$
  select coalesce(array_agg(session_id), '{}') from public.video_session_participants
  where user_id = auth.uid() and role = 'participant'
$$;

create policy "hosts see their sessions, participants those they take part in" on public.video_sessions
for select to authenticated
using (host_id = (select auth.uid()) or id = any ((select video_sessions_private.participating_session_ids())::uuid[]));

create policy "hosts add sessions with their own link" on public.video_sessions
for insert to authenticated
with check (
  host_id = (select auth.uid()) and provider = 'external'
  and (select video_sessions_private.may_host((select auth.uid())))
);

create policy "hosts change their sessions" on public.video_sessions
for update to authenticated
using (host_id = (select auth.uid())) with check (host_id = (select auth.uid()));

create policy "hosts delete their sessions" on public.video_sessions
for delete to authenticated
using (host_id = (select auth.uid()));

create policy "hosts see the codes of their sessions" on public.video_session_invites
for select to authenticated
using (host_id = (select auth.uid()));

create policy "hosts see their start URLs" on public.video_session_host_meta
for select to authenticated
using (host_id = (select auth.uid()) and (select video_sessions_private.may_host((select auth.uid()))));

create policy "hosts see who takes part, participants see themselves" on public.video_session_participants
for select to authenticated
using (user_id = (select auth.uid()) or host_id = (select auth.uid()));

create policy "hosts invite" on public.video_session_participants
for insert to authenticated
with check (role = 'participant' and host_id = (select auth.uid()));

create policy "hosts uninvite, participants leave" on public.video_session_participants
for delete to authenticated
using (role = 'participant' and (user_id = (select auth.uid()) or host_id = (select auth.uid())));

create policy "users see what concerns them" on public.video_session_events
for select to authenticated
using (user_id = (select auth.uid()));

create policy "users see their own connection" on public.user_integrations_zoom
for select to authenticated
using (user_id = (select auth.uid()));

-- Functions. Those in the private schema are for nobody but what is in it, and for policies and defaults that name
-- them.
revoke execute on all functions in schema video_sessions_private from public, anon, authenticated, service_role;
grant execute on function
  video_sessions_private.may_host, video_sessions_private.participating_session_ids
to authenticated;
grant execute on function video_sessions_private.new_share_code to service_role;
-- A check of the table calls it, as whoever writes.
grant execute on function video_sessions_private.is_title to authenticated, service_role;

-- The app's own.
revoke execute on function
  public.can_host_video_sessions,
  public.confirm_zoom_connection,
  public.my_video_sessions,
  public.phase,
  public.renew_share_code,
  public.video_session_display_name,
  public.video_sessions_waiting,
  public.zoom_account,
  public.zoom_connection
from public, anon, authenticated, service_role;
grant execute on function
  public.can_host_video_sessions,
  public.confirm_zoom_connection,
  public.my_video_sessions,
  public.phase,
  public.renew_share_code,
  public.video_sessions_waiting,
  public.zoom_account,
  public.zoom_connection
to authenticated;
grant execute on function public.can_host_video_sessions, public.phase to service_role;

-- The steps of the edge functions.
revoke execute on function
  public.edge_connection_expire,
  public.edge_join,
  public.edge_oauth_begin,
  public.edge_oauth_consume,
  public.edge_oauth_fail,
  public.edge_oauth_complete,
  public.edge_token_claim,
  public.edge_refresh_commit,
  public.edge_refresh_fail,
  public.edge_refresh_due,
  public.edge_reseal_claim,
  public.edge_reseal,
  public.edge_outbox_claim,
  public.edge_outbox_settle,
  public.edge_outbox_dead_letters,
  public.edge_outbox_retry,
  public.edge_session_begin,
  public.edge_session_complete,
  public.edge_session_fail,
  public.edge_creations_claim,
  public.edge_start_begin,
  public.edge_start_complete,
  public.edge_start_gone,
  public.edge_watch_claim,
  public.edge_watch_save,
  public.edge_watch_save_list,
  public.edge_watch_all,
  public.edge_sessions_settle,
  public.edge_webhook_receive,
  public.edge_disconnect_begin,
  public.edge_disconnect_complete,
  public.edge_revocations_claim,
  public.edge_purge,
  public.edge_health,
  public.edge_sync_due
from public, anon, authenticated, service_role;
grant execute on function
  public.edge_connection_expire,
  public.edge_join,
  public.edge_oauth_begin,
  public.edge_oauth_consume,
  public.edge_oauth_fail,
  public.edge_oauth_complete,
  public.edge_token_claim,
  public.edge_refresh_commit,
  public.edge_refresh_fail,
  public.edge_refresh_due,
  public.edge_reseal_claim,
  public.edge_reseal,
  public.edge_outbox_claim,
  public.edge_outbox_settle,
  public.edge_outbox_dead_letters,
  public.edge_outbox_retry,
  public.edge_session_begin,
  public.edge_session_complete,
  public.edge_session_fail,
  public.edge_creations_claim,
  public.edge_start_begin,
  public.edge_start_complete,
  public.edge_start_gone,
  public.edge_watch_claim,
  public.edge_watch_save,
  public.edge_watch_save_list,
  public.edge_watch_all,
  public.edge_sessions_settle,
  public.edge_webhook_receive,
  public.edge_disconnect_begin,
  public.edge_disconnect_complete,
  public.edge_revocations_claim,
  public.edge_purge,
  public.edge_health,
  public.edge_sync_due
to service_role;
