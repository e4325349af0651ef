-- Who may do what: revoke first, then grant, then row-level security. Default is no access.

revoke all on
  public.video_sessions, public.video_session_host_meta, public.video_session_participants, public.user_integrations_zoom
from public, anon, authenticated, service_role;
revoke all on
  private.time_zones, private.zoom_oauth_states, private.session_creations, private.zoom_meetings, private.zoom_outbox,
  private.zoom_departures, private.webhook_events, private.share_code_misses
from public, anon, authenticated, service_role;

grant select, delete on public.video_sessions to authenticated;
grant insert (host_id, provider, title, description, scheduled_start, timezone, duration_minutes, max_participants, join_url)
  on public.video_sessions to authenticated;
grant update (title, description, scheduled_start, timezone, duration_minutes, max_participants, status, updated_at)
  on public.video_sessions to authenticated;
grant select on public.video_session_host_meta to authenticated;
grant select, insert (session_id, user_id, role), delete on public.video_session_participants to authenticated;
-- Column by column: a column that is added later stays closed until somebody opens it.
grant select (user_id, zoom_account_email, status, expires_at, connected_at, updated_at)
  on public.user_integrations_zoom to authenticated;
grant select, insert, update, delete on
  public.video_sessions, public.video_session_host_meta, public.video_session_participants, public.user_integrations_zoom
to service_role;

alter table public.video_sessions enable row level security;
alter table public.video_session_host_meta enable row level security;
alter table public.video_session_participants enable row level security;
alter table public.user_integrations_zoom enable row level security;
alter table private.time_zones enable row level security;
alter table private.zoom_oauth_states enable row level security;
alter table private.session_creations enable row level security;
alter table private.zoom_meetings enable row level security;
alter table private.zoom_outbox enable row level security;
alter table private.zoom_departures enable row level security;
alter table private.webhook_events enable row level security;
alter table private.share_code_misses enable row level security;

-- Whether a user may host. `profiles.role` or `providers.provider_type` decide where the app has them, else the role that
-- the project's own server put into the account (`raw_app_meta_data`, which users cannot change). Users learn it of
-- themselves only.
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
comment on function public.can_host_video_sessions is 'Whether a user may host sessions. Replace it to make another rule.';
revoke execute on function public.can_host_video_sessions from public, anon;
grant execute on function public.can_host_video_sessions to authenticated, service_role;

-- Helpers of the policies: an array, read once a query, so that `= any (…)` uses an index; and definers, so that no policy
-- runs into another one.
create function private.participating_session_ids() returns uuid[]
language sql stable security definer set search_path = ''
as $$
  select coalesce(array_agg(session_id), '{}') from public.video_session_participants where user_id = auth.uid()
$$;
create function private.hosted_session_ids() returns uuid[]
language sql stable security definer set search_path = ''
as $$
  select coalesce(array_agg(id), '{}') from public.video_sessions where host_id = auth.uid()
$$;
revoke execute on function private.participating_session_ids, private.hosted_session_ids, private.new_share_code
  from public, anon, service_role;
grant execute on function private.participating_session_ids, private.hosted_session_ids, private.new_share_code to authenticated;
grant execute on function private.new_share_code to service_role;

create policy "hosts see their sessions, participants those they take part in" on public.video_sessions
for select to authenticated
using (host_id = (select auth.uid()) or id = any ((select private.participating_session_ids())::uuid[]));

create policy "hosts add sessions with their own link" on public.video_sessions
for insert to authenticated
with check (
  host_id = (select auth.uid()) and provider = 'external'
  and (select public.can_host_video_sessions((select auth.uid())))
);

create policy "hosts change their sessions" on public.video_sessions
for update to authenticated
using (host_id = (select auth.uid())) with check (host_id = (select auth.uid()));

create policy "hosts delete their sessions" on public.video_sessions
for delete to authenticated
using (host_id = (select auth.uid()));

create policy "hosts see their start URLs" on public.video_session_host_meta
for select to authenticated
using (host_id = (select auth.uid()));

create policy "hosts see who takes part, participants see themselves" on public.video_session_participants
for select to authenticated
using (user_id = (select auth.uid()) or session_id = any ((select private.hosted_session_ids())::uuid[]));

create policy "hosts invite" on public.video_session_participants
for insert to authenticated
with check (role = 'participant' and session_id = any ((select private.hosted_session_ids())::uuid[]));

create policy "hosts uninvite, participants leave" on public.video_session_participants
for delete to authenticated
using (
  role = 'participant'
  and (user_id = (select auth.uid()) or session_id = any ((select private.hosted_session_ids())::uuid[]))
);

create policy "users see their own connection" on public.user_integrations_zoom
for select to authenticated
using (user_id = (select auth.uid()));
