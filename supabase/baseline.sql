-- Video Sessions: the whole database in one statement, which does all or nothing. `cargo xtask sql baseline` makes it
-- from supabase/baseline.sql and supabase/schemas/.
--
-- The Supabase CLI runs it (`supabase db push`), so does the SQL editor of the dashboard, and so does `psql -f`.
-- Another run changes nothing.

do $video_sessions$
declare
  -- PostgreSQL's names have at most 63 bytes. A longer one ends in a hash of the whole.
  fit constant text := $format$
    select case when octet_length($1) <= 63 then $1 else left($1, 54) || '_' || left(md5($1), 8) end
  $format$;
  -- A Zoom integration that somebody wrote by hand: its tables, their columns, and the types that matter here.
  handwritten constant jsonb := '{
    "video_sessions": {
      "id": "^uuid$", "host_id": "^uuid$", "provider": "", "title": "", "scheduled_start": "^timestamp",
      "duration_minutes": "", "status": "", "join_url": "", "provider_meeting_id": ""
    },
    "video_session_host_meta": {"session_id": "", "host_start_url": ""},
    "video_session_participants": {"session_id": "^uuid$", "user_id": "^uuid$", "role": ""},
    "user_integrations_zoom": {"user_id": "", "access_token": "", "refresh_token": "", "expires_at": ""}
  }';
  -- The tables that move aside as `…_legacy`, and those of them that a hand-written integration had.
  moving regclass[];
  by_hand regclass[];
  -- What is said at the end, line by line.
  lines text[] := '{Video Sessions is installed.}';
  in_the_way text;
  new_name text;
  found record;
  -- Of a session to come, while it is taken over.
  meeting text;
  link text;
  guests uuid[];
  room integer;
  taken_over integer := 0;
begin
  perform set_config('video_sessions.outcome', '', false);
  if to_regclass('video_sessions_private.zoom_meetings') is not null then
    raise notice 'Video Sessions is there already: nothing was changed.';
    perform set_config('video_sessions.outcome', 'Video Sessions is there already: nothing was changed.', false);
    return;
  end if;
  -- Whoever uses the tables that are about to change is not kept waiting.
  perform set_config('lock_timeout', '10s', true);
  perform set_config('timezone', 'UTC', true);

  by_hand := array(
    select c.oid::regclass from jsonb_each(handwritten) as known (name, columns)
    join pg_catalog.pg_class c
      on c.relnamespace = 'public'::regnamespace and c.relname = known.name and c.relkind in ('r', 'p')
    where not exists (
      select from jsonb_each_text(known.columns) as needed (name, type_pattern)
      where not exists (
        select from pg_catalog.pg_attribute
        where attrelid = c.oid and attname = needed.name and not attisdropped
          and format_type(atttypid, null) ~ needed.type_pattern
      )
    )
    order by c.relname
  );
  -- The older table of the app (2025-01-27: lead_id, conversation_id, room_id, token, …).
  moving := by_hand || array(
    select attrelid::regclass from pg_catalog.pg_attribute
    where attrelid = to_regclass('public.video_sessions') and not attrelid = any (by_hand)
      and attname in ('room_id', 'lead_id', 'conversation_id') and not attisdropped
    limit 1
  );

  -- Every name that the SQL below creates outside of its own schema, and those under which tables move aside.
  select string_agg(format('%s %s', needed.kind, needed.name), ', ' order by needed.kind, needed.name) into in_the_way
  from (
    values
    {{names}}
    union all
    select 'table', format('public.%s_legacy', relname) from pg_catalog.pg_class where oid = any (moving)
  ) as needed (kind, name)
  where case needed.kind
    when 'schema' then to_regnamespace(needed.name) is not null
    when 'function' then exists (
      select from pg_catalog.pg_proc
      where pronamespace = 'public'::regnamespace and 'public.' || proname = needed.name
    )
    when 'trigger' then exists (
      select from pg_catalog.pg_trigger where tgrelid = 'auth.users'::regclass and 'auth.users.' || tgname = needed.name
    )
    else exists (
      -- Tables, views, sequences and indexes share their names; each table is a type, too.
      select from pg_catalog.pg_class c
      where c.relnamespace = 'public'::regnamespace and 'public.' || c.relname = needed.name
        and not c.oid = any (moving)
        and not exists (select from pg_catalog.pg_index where indexrelid = c.oid and indrelid = any (moving))
    ) or exists (
      select from pg_catalog.pg_type t
      where t.typnamespace = 'public'::regnamespace and 'public.' || t.typname = needed.name and t.typrelid = 0
        and needed.kind = 'table'
    )
  end;
  if in_the_way is not null then
    raise exception using
      errcode = 'duplicate_object',
      message = format(
        'Video Sessions was not installed, because this database has something else by the name of: %s.', in_the_way
      ),
      hint = 'Rename yours and run this again. Nothing was changed.';
  end if;

  -- Rows of the app's that refer to a session would refer to the table that moved aside, and never to a new session.
  select string_agg(format('%s (%s)', conrelid::regclass, conname), ', ' order by conrelid::regclass::text, conname)
  into in_the_way
  from pg_catalog.pg_constraint
  where contype = 'f' and confrelid = any (by_hand) and not conrelid = any (moving) and conparentid = 0;
  if in_the_way is not null then
    raise exception using
      errcode = 'dependent_objects_still_exist',
      message = format(
        'Video Sessions was not installed, because these foreign keys refer to tables that would move aside: %s.',
        in_the_way
      ),
      hint = 'Drop them and run this again. Sessions to come keep their ids: add the keys again, `not valid`, afterwards. '
        || 'Nothing was changed.';
  end if;

  -- What an app had before moves aside with its rows, keys, policies and triggers; nothing is dropped.
  if cardinality(moving) > 0 then
    lines := lines || format(
      'Moved aside with all rows: %s.',
      (select string_agg(format('%1$s (now %1$s_legacy)', oid::regclass), ', ' order by relname)
      from pg_catalog.pg_class where oid = any (moving))
    );
  end if;
  for found in
    select format('The trigger %s moved along with %s.', tgname, tgrelid::regclass) as line
    from pg_catalog.pg_trigger where tgrelid = any (moving) and not tgisinternal
    union all
    select distinct format(
      'The %s %s goes on reading the table that moved aside.',
      case c.relkind when 'm' then 'materialized view' else 'view' end, c.oid::regclass
    )
    from pg_catalog.pg_depend d
    join pg_catalog.pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
    join pg_catalog.pg_class c on c.oid = r.ev_class and c.relkind in ('v', 'm')
    where d.refclassid = 'pg_class'::regclass and d.refobjid = any (moving)
    union all
    select format('The function %s names a table that moved aside: it now finds the new one.', p.oid::regprocedure)
    from pg_catalog.pg_proc p
    where p.proowner = current_user::regrole
      and exists (
        select from pg_catalog.pg_class where oid = any (moving) and p.prosrc ~ format('\m%s\M', relname)
      )
    order by line
  loop
    lines := lines || found.line;
  end loop;

  -- Tokens in clear text, and start URLs, are for no client, and leave the database in no stream of changes.
  for found in
    select relname as table_name, pubname, pubowner::regrole as owner, prrelid is not null as by_name
    from pg_catalog.pg_class c
    cross join pg_catalog.pg_publication p
    left join pg_catalog.pg_publication_rel r on r.prpubid = p.oid and r.prrelid = c.oid
    where c.oid = any (by_hand) and exists (
      select from pg_catalog.pg_publication_tables t
      where t.pubname = p.pubname and t.schemaname = 'public' and t.tablename = c.relname
    )
    order by relname, pubname
  loop
    if not found.by_name then
      lines := lines || format(
        'The publication %s is of all tables: that includes %s_legacy. Name its tables one by one to leave it out.',
        found.pubname, found.table_name
      );
    elsif found.table_name in ('user_integrations_zoom', 'video_session_host_meta') then
      execute format('alter publication %I drop table public.%I', found.pubname, found.table_name);
      lines := lines || format('%s left the publication %s.', found.table_name, found.pubname);
    else
      lines := lines || format('The publication %s goes on with %s_legacy.', found.pubname, found.table_name);
    end if;
  end loop;
  for found in
    select relname as table_name from pg_catalog.pg_class
    where oid = any (by_hand) and relname in ('user_integrations_zoom', 'video_session_host_meta')
  loop
    execute format('revoke all on public.%I from public, anon, authenticated', found.table_name);
  end loop;

  -- Constraints first: the index behind a primary key or a unique constraint is renamed with it. Names of indexes are
  -- unique in a schema, so the new table needs them; the others follow so that nobody takes one table's for the
  -- other's.
  for found in
    select relname as table_name, conname as old_name
    from pg_catalog.pg_constraint join pg_catalog.pg_class c on c.oid = conrelid
    where conrelid = any (moving) and conname !~ format('^%s_legacy', relname)
  loop
    execute fit into new_name using
      format('%s_legacy_', found.table_name) || regexp_replace(found.old_name, format('^%s_?', found.table_name), '');
    execute format('alter table public.%I rename constraint %I to %I', found.table_name, found.old_name, new_name);
  end loop;
  for found in
    select c.relname as table_name, i.relname as old_name
    from pg_catalog.pg_index
    join pg_catalog.pg_class c on c.oid = indrelid
    join pg_catalog.pg_class i on i.oid = indexrelid
    where indrelid = any (moving) and i.relname !~ format('^%s_legacy', c.relname)
  loop
    execute fit into new_name using
      format('%s_legacy_', found.table_name)
      || regexp_replace(found.old_name, format('^(idx_)?%s_?', found.table_name), '\1');
    execute format('alter index public.%I rename to %I', found.old_name, new_name);
  end loop;
  for found in select relname as table_name from pg_catalog.pg_class where oid = any (moving)
  loop
    execute format('alter table public.%I rename to %I', found.table_name, found.table_name || '_legacy');
  end loop;

  execute $schemas$
{{schemas}}
  $schemas$;

  -- Sessions to come are taken over from a hand-written integration under the same ids. Nobody knows which Zoom user
  -- made their meetings: that stays open until Zoom has answered for one.
  if to_regclass('public.video_sessions_legacy') = any (by_hand) then
    for found in
      select old.id, old.host_id, old.scheduled_start, to_jsonb(old) as detail,
        -- A number that several sessions have is somebody's personal meeting: only its link is theirs.
        count(*) over (partition by old.provider_meeting_id) as sharing
      from public.video_sessions_legacy old
      order by old.scheduled_start, old.id
    loop
      continue when found.scheduled_start is null
        or found.scheduled_start < now() - interval '1 day'
        or found.detail ->> 'status' ~* '^(cancell?ed|ended|completed?|finished|done|missed|no.?show|expired|deleted|failed)$';
      begin
        continue when found.scheduled_start
          + make_interval(mins => coalesce((found.detail ->> 'duration_minutes')::numeric, 60)::integer) < now();
        if not exists (select from auth.users where id = found.host_id) then
          raise foreign_key_violation using message = 'its host has no account';
        end if;
        link := nullif(btrim(found.detail ->> 'join_url'), '');
        meeting := regexp_replace(found.detail ->> 'provider_meeting_id', '[ -]', '', 'g');
        if found.detail ->> 'provider' is distinct from 'zoom' or meeting !~ '^[0-9]{9,15}$' or found.sharing > 1 then
          meeting := null;
        end if;
        link := coalesce(link, 'https://zoom.us/j/' || meeting);
        if link is null then
          raise not_null_violation using message = 'it has no link';
        end if;

        guests := '{}';
        if to_regclass('public.video_session_participants_legacy') = any (by_hand) then
          guests := array(
            select guest.user_id from public.video_session_participants_legacy guest
            where guest.session_id = found.id
            group by guest.user_id order by min(to_jsonb(guest) ->> 'created_at'), guest.user_id
          );
        end if;
        if found.detail ->> 'client_id' is not null then
          guests := (found.detail ->> 'client_id')::uuid || guests;
        end if;
        guests := array(
          select guest.id from unnest(guests) with ordinality as guest (id, place)
          join auth.users on users.id = guest.id
          where guest.id <> found.host_id group by guest.id order by min(guest.place)
        );
        room := greatest(2, least(5, coalesce((found.detail ->> 'max_participants')::integer, 2)));
        room := greatest(room, least(5, 1 + cardinality(guests)));

        insert into public.video_sessions (
          id, host_id, provider, title, description, scheduled_start, timezone, duration_minutes, max_participants,
          join_url, provider_meeting_id, passcode
        ) values (
          found.id, found.host_id, case when meeting is null then 'external' else 'zoom' end,
          coalesce(
            nullif(left(btrim(regexp_replace(found.detail ->> 'title', '[[:cntrl:]]+', ' ', 'g')), 200), ''), 'Session'
          ),
          left(coalesce(found.detail ->> 'description', ''), 2000), found.scheduled_start,
          coalesce(
            (select name from video_sessions_private.time_zones where name = found.detail ->> 'timezone'), 'UTC'
          ),
          greatest(1, least(1440, coalesce((found.detail ->> 'duration_minutes')::numeric, 60)::integer)), room,
          link, meeting,
          case when meeting is not null then coalesce(found.detail ->> 'passcode', found.detail ->> 'password') end
        );
        insert into public.video_session_participants (session_id, user_id)
        select found.id, guest.id from unnest(guests[1:room - 1]) as guest (id);
        if meeting is not null then
          insert into video_sessions_private.zoom_meetings (
            session_id, title, description, scheduled_start, timezone, duration_minutes
          )
          select id, title, description, scheduled_start, timezone, duration_minutes
          from public.video_sessions where id = found.id;
        end if;

        taken_over := taken_over + 1;
        if char_length(found.detail ->> 'title') > 200 or char_length(found.detail ->> 'description') > 2000
          or (found.detail ->> 'duration_minutes')::numeric > 1440
        then
          lines := lines || format(
            'Session %s was cut to what fits: 200 characters of title, 2,000 of description, one day.', found.id
          );
        end if;
        if cardinality(guests) > room - 1 then
          lines := lines || format(
            'Session %s has more than five people: left out are %s.', found.id, array_to_string(guests[room:], ', ')
          );
        end if;
        if meeting is null and found.detail ->> 'provider' = 'zoom' then
          lines := lines || format(
            'Session %s was taken over as a plain link: its meeting number is %s, so changes do not reach Zoom.', found.id,
            case when found.sharing > 1 and found.detail ->> 'provider_meeting_id' is not null
              then 'that of other sessions too' else 'none of Zoom''s' end
          );
        end if;
      exception when data_exception or integrity_constraint_violation then
        lines := lines || format('Session %s was not taken over: %s.', found.id, rtrim(sqlerrm, '.'));
      end;
    end loop;
    -- What is taken over is no news to anybody.
    delete from public.video_session_events;
    lines := lines || format(
      'Sessions to come that were taken over: %s. Their hosts have to connect Zoom again.', taken_over
    );
  end if;

  insert into video_sessions_private.installation (line)
  select line from unnest(lines) with ordinality as said (line, place) order by place;
  for found in select line from unnest(lines) as said (line)
  loop
    raise notice '%', found.line;
  end loop;
  perform set_config('video_sessions.outcome', array_to_string(lines, E'\n'), false);
end
$video_sessions$;

-- The dashboard's editor hides notices, and shows what the last statement gives. The CLI shows neither: what was said
-- is in video_sessions_private.installation.
select unnest(string_to_array(
  coalesce(
    nullif(current_setting('video_sessions.outcome', true), ''),
    case when to_regclass('video_sessions_private.zoom_meetings') is null
      then 'Video Sessions was not installed: the error above says why.' else 'Video Sessions is installed.' end
  ),
  E'\n'
)) as video_sessions;
