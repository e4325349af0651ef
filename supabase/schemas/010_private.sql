-- What no client role reaches: PostgREST does not serve this schema, and nobody is granted its use. The names in it are
-- the project's own, so that an app's tables and functions are never taken for ours.

create schema video_sessions_private;
comment on schema video_sessions_private is 'Video Sessions: what only its functions reach.';
revoke all on schema video_sessions_private from public;

-- Whether the statement comes from the app itself: PostgREST takes on the role of the user's token.
create function video_sessions_private.is_app() returns boolean
language sql stable set search_path = ''
as $$ select current_setting('role') in ('authenticated', 'anon') $$;

-- SHA-256 in lower-case hexadecimal, as the functions make it of what only they may know.
create function video_sessions_private.hash(secret text) returns text
language sql immutable set search_path = ''
as $$ select encode(sha256(convert_to(secret, 'UTF8')), 'hex') $$;

create function video_sessions_private.touch() returns trigger
language plpgsql set search_path = ''
as $$
begin
  new.updated_at := now();
  return new;
end
$$;

-- 60 random bits as twelve characters that are hard to mistake for one another (Crockford's base 32). gen_random_uuid()
-- draws on the server's strong source of randomness; the bits taken here are not among its fixed ones.
create function video_sessions_private.new_share_code() returns text
language sql volatile set search_path = ''
as $$
  select string_agg(substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', (get_byte(random.bytes, n) & 31) + 1, 1), '')
  from (select decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex') as bytes) as random,
    unnest(array[0, 1, 2, 3, 4, 5, 16, 17, 18, 19, 20, 21]) as n
$$;
