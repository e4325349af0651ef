-- Rules for what people type, one for each kind of value, whichever door it comes through: PostgREST, a function, Zoom.

-- A title: one line of at most 200 characters with something to see in it, and nothing that turns or hides the text
-- around it (control characters, line and paragraph separators, marks of direction).
create function video_sessions_private.is_title(title text) returns boolean
language sql immutable set search_path = ''
as $$
  select char_length(title) <= 200
    and title !~ '[\u0001-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]'
    and title ~ (
      '[^\s\u00a0\u00ad\u034f\u115f\u1160\u1680\u180e\u2000-\u200d\u202f\u205f-\u2065\u206a-\u206f'
      || '\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0]'
    )
$$;

create function video_sessions_private.title_rule() returns text
language sql immutable set search_path = ''
as $$ select 'must be one line of at most 200 characters, with something to see in it' $$;

-- What Zoom calls a meeting, made into a title; empty if nothing is left of it.
create function video_sessions_private.as_title(topic text) returns text
language sql immutable set search_path = ''
as $$
  select case when video_sessions_private.is_title(cleaned) then cleaned else '' end
  from (
    select btrim(left(btrim(regexp_replace(
      topic, '[\u0001-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]+', ' ', 'g'
    )), 200)) as cleaned
  ) as made
$$;

-- A host's own link: `https`, a public host's name in ASCII (no address, no local name, no user name), and only
-- characters that a link may have, at most 2,000.
create function video_sessions_private.is_join_url(url text) returns boolean
language sql immutable set search_path = ''
as $$
  select char_length(url) <= 2000
    and url ~ (
      '^https://([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?'
      || '(:[0-9]{1,5})?([/?#][A-Za-z0-9._~:/?#@!$&()*+,;=%\[\]-]*)?$'
    )
    and url !~* (
      '^https://[^/?#:]*\.(local|localhost|localdomain|internal|intranet|lan|home|corp|private|arpa)([:/?#]|$)'
    )
$$;

create function video_sessions_private.join_url_rule() returns text
language sql immutable set search_path = ''
as $$ select 'must be an https link to a public address, in ASCII, of at most 2,000 characters' $$;
