-- Placeholder until the full base schema lands. Run by the superuser supabase_admin in database postgres.
create role anon nologin noinherit;
create role authenticated nologin noinherit;
create role service_role nologin noinherit bypassrls;
create role postgres login createrole createdb bypassrls;
create role authenticator login noinherit;
grant anon, authenticated, service_role to authenticator;
grant anon, authenticated, service_role to postgres with admin option;
grant all on database postgres to postgres;
create schema extensions;
grant usage on schema extensions to public;
create extension pgcrypto schema extensions;
grant all on schema public to postgres;
grant usage on schema public to anon, authenticated, service_role;
create schema auth;
grant usage on schema auth to postgres, anon, authenticated, service_role;
create table auth.users (
  instance_id uuid, id uuid primary key, aud text, role text, email text unique, encrypted_password text,
  email_confirmed_at timestamptz, raw_app_meta_data jsonb, raw_user_meta_data jsonb, created_at timestamptz, updated_at timestamptz
);
grant all on auth.users to postgres;
