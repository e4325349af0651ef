-- The Zoom accounts that a host has connected, so that a session of another one than today's can say which.

create table video_sessions_private.zoom_accounts (
  user_id uuid not null references auth.users (id) on delete cascade,
  zoom_user_id text not null,
  email text not null,
  primary key (user_id, zoom_user_id)
);
create index zoom_accounts_zoom_user_id_idx on video_sessions_private.zoom_accounts (zoom_user_id);
comment on table video_sessions_private.zoom_accounts is
  'Goes with the host''s account, and when the Zoom user removes the app.';

create function video_sessions_private.keep_zoom_account() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  insert into video_sessions_private.zoom_accounts as known (user_id, zoom_user_id, email)
  select new.user_id, new.zoom_user_id, new.zoom_account_email
  where new.zoom_account_email is not null and exists (select from auth.users where id = new.user_id)
  on conflict (user_id, zoom_user_id) do update set email = excluded.email;
  return null;
end
$$;
create trigger keep_zoom_account after insert on public.user_integrations_zoom
for each row execute function video_sessions_private.keep_zoom_account();
create trigger keep_another_zoom_account after update on public.user_integrations_zoom
for each row when (
  (old.zoom_user_id, old.zoom_account_email) is distinct from (new.zoom_user_id, new.zoom_account_email)
)
execute function video_sessions_private.keep_zoom_account();
