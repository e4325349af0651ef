-- The app's database may hold an older table of the same name (2025-01-27: lead_id, conversation_id, room_id, token, …).
-- It is moved aside with its rows, keys, policies and triggers; nothing is dropped. Where it does not exist, or has been
-- moved before, this does nothing.

do $$
declare
  -- Names have at most 63 bytes: what a longer one loses at its end, a hash of the whole stands for.
  fit constant text := $format$
    select case when octet_length($1) <= 63 then $1 else left($1, 54) || '_' || left(md5($1), 8) end
  $format$;
  new_name text;
  legacy constant regclass := to_regclass('public.video_sessions');
  found record;
begin
  if legacy is null
    or exists (
      select from pg_catalog.pg_attribute
      where attrelid = legacy and attname = 'provider_meeting_id' and not attisdropped
    )
  then
    return;
  end if;

  alter table public.video_sessions rename to video_sessions_legacy;

  -- Constraints first: the index behind a primary key or a unique constraint is renamed with it. Names of indexes are
  -- unique in a schema, so the new table needs them; the others follow so that nobody takes one table's for the other's.
  for found in
    select conname as old_name from pg_catalog.pg_constraint
    where conrelid = legacy and conname not like 'video\_sessions\_legacy%'
  loop
    execute fit into new_name using 'video_sessions_legacy_' || regexp_replace(found.old_name, '^video_sessions_?', '');
    execute format('alter table public.video_sessions_legacy rename constraint %I to %I', found.old_name, new_name);
  end loop;

  for found in
    select relname as old_name from pg_catalog.pg_class
    where oid in (select indexrelid from pg_catalog.pg_index where indrelid = legacy)
      and relname not like 'video\_sessions\_legacy%'
  loop
    execute fit into new_name
      using 'video_sessions_legacy_' || regexp_replace(found.old_name, '^(idx_)?video_sessions_?', '\1');
    execute format('alter index public.%I rename to %I', found.old_name, new_name);
  end loop;
end
$$;
