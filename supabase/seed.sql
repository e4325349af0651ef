-- The demo users of local stacks: two hosts, six clients, all with the password `demo-password`. Never for production.
-- Runs on a real `supabase start` as well, and any number of times.

insert into auth.users (
  instance_id, id, aud, role, email, encrypted_password, email_confirmed_at, raw_app_meta_data, raw_user_meta_data,
  created_at, updated_at,
  -- Supabase Auth cannot read a user whose tokens are null.
  confirmation_token, recovery_token, email_change_token_new, email_change
)
select
  '00000000-0000-0000-0000-000000000000', id, 'authenticated', 'authenticated', name || '@demo.test',
  extensions.crypt('demo-password', extensions.gen_salt('bf')), now(),
  jsonb_build_object('provider', 'email', 'providers', jsonb_build_array('email'), 'role', app_role),
  jsonb_build_object('full_name', initcap(name)),
  now(), now(), '', '', '', ''
from (
  values
    ('00000000-0000-4000-8000-0000000000a1'::uuid, 'trainer', 'trainer'),
    ('00000000-0000-4000-8000-0000000000a2', 'nutritionist', 'nutritionist'),
    ('00000000-0000-4000-8000-0000000000c1', 'client1', 'client'),
    ('00000000-0000-4000-8000-0000000000c2', 'client2', 'client'),
    ('00000000-0000-4000-8000-0000000000c3', 'client3', 'client'),
    ('00000000-0000-4000-8000-0000000000c4', 'client4', 'client'),
    ('00000000-0000-4000-8000-0000000000c5', 'client5', 'client'),
    ('00000000-0000-4000-8000-0000000000c6', 'client6', 'client')
) as demo (id, name, app_role)
on conflict do nothing;

-- What Supabase Auth signs a user in by, and shows in its dashboard.
insert into auth.identities (provider_id, user_id, identity_data, provider, created_at, updated_at)
select
  id::text, id, jsonb_build_object('sub', id, 'email', email, 'email_verified', true, 'phone_verified', false),
  'email', created_at, updated_at
from auth.users
where id::text like '00000000-0000-4000-8000-0000000000__' and email like '%@demo.test'
on conflict do nothing;

-- Whom the demo's hosts can pick when they invite. A real app has lists of its own, and does without this.
create or replace function public.video_session_contacts() returns table (user_id uuid, name text, email text)
language sql stable security definer set search_path = ''
as $$
  select id, raw_user_meta_data ->> 'full_name', email from auth.users
  where email like 'client_@demo.test' and id <> auth.uid()
  order by email
$$;
revoke execute on function public.video_session_contacts from public, anon, service_role;
grant execute on function public.video_session_contacts to authenticated;
