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
    ('schema', 'video_sessions_private'),
    ('table', 'public.video_sessions'),
    ('index', 'public.video_sessions_host_id_scheduled_start_idx'),
    ('index', 'public.video_sessions_scheduled_start_idx'),
    ('table', 'public.video_session_invites'),
    ('index', 'public.video_session_invites_host_id_idx'),
    ('function', 'public.renew_share_code'),
    ('table', 'public.video_session_participants'),
    ('index', 'public.video_session_participants_user_id_idx'),
    ('index', 'public.video_session_participants_host_id_idx'),
    ('index', 'public.video_session_participants_one_host_idx'),
    ('table', 'public.user_integrations_zoom'),
    ('index', 'public.user_integrations_zoom_zoom_user_id_idx'),
    ('index', 'public.user_integrations_zoom_refreshed_at_idx'),
    ('index', 'public.user_integrations_zoom_access_token_expires_at_idx'),
    ('index', 'public.user_integrations_zoom_account_deleted_at_idx'),
    ('function', 'public.zoom_connection'),
    ('function', 'public.edge_connection_expire'),
    ('function', 'public.edge_oauth_begin'),
    ('function', 'public.edge_oauth_consume'),
    ('function', 'public.edge_oauth_fail'),
    ('function', 'public.edge_oauth_complete'),
    ('function', 'public.confirm_zoom_connection'),
    ('function', 'public.edge_token_claim'),
    ('function', 'public.edge_refresh_commit'),
    ('function', 'public.edge_refresh_fail'),
    ('function', 'public.edge_refresh_due'),
    ('function', 'public.edge_outbox_claim'),
    ('function', 'public.edge_outbox_settle'),
    ('function', 'public.edge_outbox_dead_letters'),
    ('function', 'public.edge_outbox_retry'),
    ('function', 'public.edge_sessions_settle'),
    ('function', 'public.edge_session_begin'),
    ('function', 'public.edge_session_complete'),
    ('function', 'public.edge_session_fail'),
    ('function', 'public.edge_creations_claim'),
    ('function', 'public.phase'),
    ('function', 'public.zoom_account'),
    ('index', 'public.video_sessions_upcoming_idx'),
    ('index', 'public.video_sessions_ongoing_idx'),
    ('index', 'public.video_sessions_past_idx'),
    ('function', 'public.my_video_sessions'),
    ('table', 'public.video_session_host_meta'),
    ('index', 'public.video_session_host_meta_host_id_idx'),
    ('index', 'public.video_session_host_meta_expires_at_idx'),
    ('function', 'public.edge_start_begin'),
    ('function', 'public.edge_start_complete'),
    ('function', 'public.edge_start_gone'),
    ('function', 'public.edge_webhook_receive'),
    ('function', 'public.edge_watch_claim'),
    ('function', 'public.edge_watch_save'),
    ('function', 'public.edge_watch_save_list'),
    ('function', 'public.edge_watch_all'),
    ('function', 'public.edge_disconnect_begin'),
    ('function', 'public.edge_disconnect_complete'),
    ('trigger', 'auth.users.video_sessions_account_deleted'),
    ('function', 'public.edge_revocations_claim'),
    ('function', 'public.video_sessions_waiting'),
    ('function', 'public.edge_reseal_claim'),
    ('function', 'public.edge_reseal'),
    ('function', 'public.video_session_display_name'),
    ('function', 'public.edge_join'),
    ('table', 'public.video_session_events'),
    ('index', 'public.video_session_events_user_id_idx'),
    ('index', 'public.video_session_events_created_at_idx'),
    ('trigger', 'auth.users.video_sessions_forget_events'),
    ('function', 'public.edge_health'),
    ('function', 'public.edge_purge'),
    ('function', 'public.edge_sync_due'),
    ('function', 'public.can_host_video_sessions')
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
-- 010_private.sql

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

-- 015_time_zones.sql

-- Time zones: the names that devices report, and what Zoom calls them.

-- All names in the IANA database, old ones and abbreviations too. Zoom knows some of them: `zoom_name` has the same
-- rules today and over the next years. It is null where no zone of Zoom's has them.
create table video_sessions_private.time_zones (name text primary key, zoom_name text);

-- The rows between `values` and `known` are made by `cargo xtask sql time-zones`.
insert into video_sessions_private.time_zones (name, zoom_name)
select name, known.zoom_name from (values
  (null, 'America/Adak America/Atka America/Havana America/Miquelon America/Noronha Antarctica/Troll Asia/Gaza
Asia/Hebron Asia/Rangoon Asia/Yangon Atlantic/South_Georgia Australia/Eucla Australia/LHI Australia/Lord_Howe
Brazil/DeNoronha Chile/EasterIsland Cuba Etc/GMT+12 Etc/GMT+2 Etc/GMT+8 Etc/GMT+9 Etc/GMT-14 Europe/Chisinau
Europe/Tiraspol Indian/Cocos NZ-CHAT Pacific/Chatham Pacific/Easter Pacific/Gambier Pacific/Kiritimati
Pacific/Marquesas Pacific/Norfolk Pacific/Pitcairn US/Aleutian'),
  ('Africa/Algiers', 'Africa/Algiers'),
  ('Africa/Bangui', 'Africa/Bangui Africa/Brazzaville Africa/Douala Africa/Kinshasa Africa/Lagos Africa/Libreville
Africa/Luanda Africa/Malabo Africa/Ndjamena Africa/Niamey Africa/Porto-Novo Etc/GMT-1'),
  ('Africa/Cairo', 'Africa/Cairo Egypt'),
  ('Africa/Casablanca', 'Africa/Casablanca Africa/El_Aaiun'),
  ('Africa/Djibouti', 'Africa/Addis_Ababa Africa/Asmara Africa/Asmera Africa/Dar_es_Salaam Africa/Djibouti
Africa/Kampala Antarctica/Syowa Etc/GMT-3 Europe/Minsk Indian/Antananarivo Indian/Comoro Indian/Mayotte'),
  ('Africa/Harare', 'Africa/Blantyre Africa/Bujumbura Africa/Gaborone Africa/Harare Africa/Juba Africa/Kigali
Africa/Lubumbashi Africa/Lusaka Africa/Maputo Africa/Maseru Africa/Mbabane Africa/Windhoek Etc/GMT-2
Europe/Kaliningrad'),
  ('Africa/Johannesburg', 'Africa/Johannesburg'),
  ('Africa/Khartoum', 'Africa/Khartoum'),
  ('Africa/Mogadishu', 'Africa/Mogadishu'),
  ('Africa/Nairobi', 'Africa/Nairobi'),
  ('Africa/Nouakchott', 'Africa/Abidjan Africa/Accra Africa/Bamako Africa/Banjul Africa/Bissau Africa/Conakry
Africa/Dakar Africa/Freetown Africa/Lome Africa/Monrovia Africa/Nouakchott Africa/Ouagadougou Africa/Sao_Tome
Africa/Timbuktu America/Danmarkshavn'),
  ('Africa/Tripoli', 'Africa/Tripoli Libya'),
  ('Africa/Tunis', 'Africa/Tunis'),
  ('America/Anchorage', 'America/Anchorage America/Juneau America/Metlakatla America/Nome America/Sitka
America/Yakutat US/Alaska'),
  ('America/Araguaina', 'America/Araguaina America/Asuncion America/Coyhaique America/Punta_Arenas Antarctica/Palmer'),
  ('America/Argentina/Buenos_Aires', 'America/Argentina/Buenos_Aires America/Argentina/Catamarca
America/Argentina/ComodRivadavia America/Argentina/Cordoba America/Argentina/Jujuy America/Argentina/La_Rioja
America/Argentina/Mendoza America/Argentina/Rio_Gallegos America/Argentina/Salta America/Argentina/San_Juan
America/Argentina/San_Luis America/Argentina/Tucuman America/Argentina/Ushuaia America/Bahia America/Belem
America/Buenos_Aires America/Catamarca America/Cayenne America/Cordoba America/Fortaleza America/Jujuy
America/Maceio America/Mendoza America/Paramaribo America/Recife America/Rosario America/Santarem Antarctica/Rothera
Atlantic/Stanley Etc/GMT+3'),
  ('America/Bogota', 'America/Bogota America/Cancun America/Eirunepe America/Porto_Acre America/Rio_Branco
Brazil/Acre'),
  ('America/Caracas', 'America/Campo_Grande America/Caracas America/Cuiaba'),
  ('America/Chicago', 'America/Chicago America/Indiana/Knox America/Indiana/Tell_City America/Knox_IN
America/Matamoros America/Menominee America/North_Dakota/Beulah America/North_Dakota/Center
America/North_Dakota/New_Salem America/Ojinaga America/Rankin_Inlet America/Resolute CST6CDT US/Central
US/Indiana-Starke'),
  ('America/Costa_Rica', 'America/Chihuahua America/Costa_Rica Pacific/Galapagos'),
  ('America/Denver', 'America/Boise America/Cambridge_Bay America/Ciudad_Juarez America/Denver America/Inuvik
America/Shiprock MST7MDT Navajo US/Mountain'),
  ('America/Edmonton', 'America/Edmonton America/Yellowknife Canada/Mountain'),
  ('America/El_Salvador', 'America/El_Salvador'),
  ('America/Godthab', 'America/Godthab America/Nuuk America/Scoresbysund'),
  ('America/Guatemala', 'America/Guatemala'),
  ('America/Halifax', 'America/Glace_Bay America/Goose_Bay America/Halifax America/Moncton America/Thule
Atlantic/Bermuda Canada/Atlantic'),
  ('America/Indianapolis', 'America/Fort_Wayne America/Grand_Turk America/Indiana/Indianapolis
America/Indiana/Marengo America/Indiana/Petersburg America/Indiana/Vevay America/Indiana/Vincennes
America/Indiana/Winamac America/Indianapolis America/Port-au-Prince US/East-Indiana'),
  ('America/Lima', 'America/Lima'),
  ('America/Los_Angeles', 'America/Los_Angeles PST8PDT US/Pacific'),
  ('America/Managua', 'America/Managua'),
  ('America/Mazatlan', 'America/Mazatlan Mexico/BajaSur'),
  ('America/Mexico_City', 'America/Bahia_Banderas America/Merida America/Mexico_City America/Monterrey
Mexico/General'),
  ('America/Montevideo', 'America/Montevideo'),
  ('America/Montreal', 'America/Detroit America/Iqaluit America/Kentucky/Monticello America/Montreal America/Nassau
America/Nipigon America/Pangnirtung America/Thunder_Bay America/Toronto Canada/Eastern US/Michigan'),
  ('America/New_York', 'America/Kentucky/Louisville America/Louisville America/New_York EST5EDT US/Eastern'),
  ('America/Panama', 'America/Atikokan America/Cayman America/Coral_Harbour America/Guayaquil America/Jamaica
America/Panama EST Etc/GMT+5 Jamaica'),
  ('America/Phoenix', 'America/Creston America/Dawson America/Dawson_Creek America/Fort_Nelson America/Hermosillo
America/Phoenix America/Whitehorse Canada/Yukon Etc/GMT+7 MST US/Arizona'),
  ('America/Puerto_Rico', 'America/Anguilla America/Antigua America/Aruba America/Barbados America/Blanc-Sablon
America/Boa_Vista America/Curacao America/Dominica America/Grenada America/Guadeloupe America/Guyana
America/Kralendijk America/La_Paz America/Lower_Princes America/Manaus America/Marigot America/Martinique
America/Montserrat America/Port_of_Spain America/Porto_Velho America/Puerto_Rico America/Santo_Domingo
America/St_Barthelemy America/St_Kitts America/St_Lucia America/St_Thomas America/St_Vincent America/Tortola
America/Virgin Brazil/West Etc/GMT+4'),
  ('America/Regina', 'America/Belize America/Regina America/Swift_Current Canada/Saskatchewan Etc/GMT+6'),
  ('America/Santiago', 'America/Santiago Chile/Continental'),
  ('America/Sao_Paulo', 'America/Sao_Paulo Brazil/East'),
  ('America/St_Johns', 'America/St_Johns Canada/Newfoundland'),
  ('America/Tegucigalpa', 'America/Tegucigalpa'),
  ('America/Tijuana', 'America/Ensenada America/Santa_Isabel America/Tijuana Mexico/BajaNorte'),
  ('America/Vancouver', 'America/Vancouver Canada/Pacific'),
  ('America/Winnipeg', 'America/Rainy_River America/Winnipeg Canada/Central'),
  ('Asia/Aden', 'Asia/Aden'),
  ('Asia/Almaty', 'Asia/Almaty Asia/Qostanay'),
  ('Asia/Amman', 'Asia/Amman'),
  ('Asia/Baghdad', 'Asia/Baghdad'),
  ('Asia/Bahrain', 'Asia/Bahrain'),
  ('Asia/Baku', 'Asia/Baku Europe/Astrakhan Europe/Saratov Europe/Ulyanovsk'),
  ('Asia/Bangkok', 'Antarctica/Davis Asia/Bangkok Asia/Barnaul Asia/Hovd Asia/Novokuznetsk Asia/Phnom_Penh
Asia/Pontianak Asia/Tomsk Asia/Vientiane Etc/GMT-7 Indian/Christmas'),
  ('Asia/Beirut', 'Asia/Beirut'),
  ('Asia/Calcutta', 'Asia/Calcutta Asia/Colombo'),
  ('Asia/Dacca', 'Asia/Bishkek Asia/Dacca Asia/Kashgar Asia/Omsk Asia/Thimbu Asia/Thimphu Asia/Urumqi Etc/GMT-6
Indian/Chagos'),
  ('Asia/Damascus', 'Asia/Damascus'),
  ('Asia/Dhaka', 'Asia/Dhaka'),
  ('Asia/Dubai', 'Asia/Dubai Asia/Tbilisi Asia/Yerevan Etc/GMT-4 Europe/Samara Indian/Mahe Indian/Mauritius
Indian/Reunion'),
  ('Asia/Hong_Kong', 'Antarctica/Casey Asia/Choibalsan Asia/Hong_Kong Asia/Macao Asia/Macau Asia/Manila
Asia/Ulaanbaatar Asia/Ulan_Bator Hongkong'),
  ('Asia/Irkutsk', 'Asia/Irkutsk'),
  ('Asia/Jakarta', 'Asia/Jakarta'),
  ('Asia/Jerusalem', 'Asia/Jerusalem Asia/Tel_Aviv Israel'),
  ('Asia/Kabul', 'Asia/Kabul'),
  ('Asia/Kamchatka', 'Asia/Anadyr Asia/Kamchatka Etc/GMT-12 Kwajalein Pacific/Funafuti Pacific/Kwajalein
Pacific/Majuro Pacific/Nauru Pacific/Tarawa Pacific/Wake Pacific/Wallis'),
  ('Asia/Kathmandu', 'Asia/Kathmandu Asia/Katmandu'),
  ('Asia/Kolkata', 'Asia/Kolkata'),
  ('Asia/Krasnoyarsk', 'Asia/Krasnoyarsk'),
  ('Asia/Kuala_Lumpur', 'Asia/Kuala_Lumpur'),
  ('Asia/Kuwait', 'Asia/Kuwait'),
  ('Asia/Magadan', 'Asia/Magadan'),
  ('Asia/Muscat', 'Asia/Muscat'),
  ('Asia/Nicosia', 'Asia/Famagusta Asia/Nicosia Europe/Nicosia'),
  ('Asia/Novosibirsk', 'Asia/Novosibirsk'),
  ('Asia/Qatar', 'Asia/Qatar'),
  ('Asia/Riyadh', 'Asia/Riyadh'),
  ('Asia/Saigon', 'Asia/Ho_Chi_Minh Asia/Saigon'),
  ('Asia/Seoul', 'Asia/Chita Asia/Dili Asia/Pyongyang Asia/Seoul ROK'),
  ('Asia/Shanghai', 'Asia/Chongqing Asia/Chungking Asia/Harbin Asia/Shanghai PRC'),
  ('Asia/Singapore', 'Asia/Singapore Singapore'),
  ('Asia/Taipei', 'Asia/Brunei Asia/Kuching Asia/Makassar Asia/Taipei Asia/Ujung_Pandang Etc/GMT-8 ROC'),
  ('Asia/Tashkent', 'Antarctica/Mawson Antarctica/Vostok Asia/Aqtau Asia/Aqtobe Asia/Ashgabat Asia/Ashkhabad
Asia/Atyrau Asia/Dushanbe Asia/Karachi Asia/Oral Asia/Qyzylorda Asia/Samarkand Asia/Tashkent Etc/GMT-5
Indian/Kerguelen Indian/Maldives'),
  ('Asia/Tehran', 'Asia/Tehran Iran'),
  ('Asia/Tokyo', 'Asia/Jayapura Asia/Tokyo Etc/GMT-9 Japan Pacific/Palau'),
  ('Asia/Vladivostok', 'Asia/Ust-Nera Asia/Vladivostok'),
  ('Asia/Yakutsk', 'Asia/Khandyga Asia/Yakutsk'),
  ('Asia/Yekaterinburg', 'Asia/Yekaterinburg'),
  ('Atlantic/Azores', 'Atlantic/Azores'),
  ('Atlantic/Cape_Verde', 'Atlantic/Cape_Verde Etc/GMT+1'),
  ('Atlantic/Reykjavik', 'Atlantic/Reykjavik Atlantic/St_Helena'),
  ('Australia/Adelaide', 'Australia/Adelaide Australia/Broken_Hill Australia/South Australia/Yancowinna'),
  ('Australia/Brisbane', 'Australia/Brisbane Australia/Lindeman Australia/Queensland'),
  ('Australia/Darwin', 'Australia/Darwin Australia/North'),
  ('Australia/Hobart', 'Antarctica/Macquarie Australia/Currie Australia/Hobart Australia/Tasmania'),
  ('Australia/Perth', 'Australia/Perth Australia/West'),
  ('Australia/Sydney', 'Australia/ACT Australia/Canberra Australia/Melbourne Australia/NSW Australia/Sydney
Australia/Victoria'),
  ('CET', 'Africa/Ceuta CET MET'),
  ('Etc/Greenwich', 'Etc/GMT Etc/GMT+0 Etc/GMT-0 Etc/GMT0 Etc/Greenwich Etc/UCT Etc/Universal Etc/Zulu Greenwich'),
  ('Europe/Amsterdam', 'Europe/Amsterdam Europe/Andorra Europe/Gibraltar Europe/Tirane'),
  ('Europe/Athens', 'EET Europe/Athens Europe/Riga Europe/Tallinn Europe/Vilnius'),
  ('Europe/Belgrade', 'Europe/Belgrade Europe/Ljubljana Europe/Podgorica Europe/Sarajevo Europe/Skopje Europe/Zagreb'),
  ('Europe/Berlin', 'Arctic/Longyearbyen Atlantic/Jan_Mayen Europe/Berlin'),
  ('Europe/Brussels', 'Europe/Brussels'),
  ('Europe/Bucharest', 'Europe/Bucharest'),
  ('Europe/Budapest', 'Europe/Budapest'),
  ('Europe/Copenhagen', 'Europe/Copenhagen'),
  ('Europe/Dublin', 'Atlantic/Canary Atlantic/Faeroe Atlantic/Faroe Atlantic/Madeira Eire Europe/Belfast
Europe/Dublin Europe/Guernsey Europe/Isle_of_Man Europe/Jersey GB GB-Eire'),
  ('Europe/Helsinki', 'Europe/Helsinki Europe/Mariehamn'),
  ('Europe/Istanbul', 'Asia/Istanbul Europe/Istanbul Europe/Volgograd Turkey'),
  ('Europe/Kiev', 'Europe/Kiev Europe/Kyiv Europe/Uzhgorod Europe/Zaporozhye'),
  ('Europe/Lisbon', 'Europe/Lisbon Portugal WET'),
  ('Europe/London', 'Europe/London'),
  ('Europe/Luxembourg', 'Europe/Luxembourg'),
  ('Europe/Madrid', 'Europe/Madrid'),
  ('Europe/Moscow', 'Europe/Kirov Europe/Moscow Europe/Simferopol W-SU'),
  ('Europe/Oslo', 'Europe/Oslo'),
  ('Europe/Paris', 'Europe/Monaco Europe/Paris'),
  ('Europe/Prague', 'Europe/Bratislava Europe/Prague'),
  ('Europe/Rome', 'Europe/Rome Europe/San_Marino Europe/Vatican'),
  ('Europe/Sofia', 'Europe/Sofia'),
  ('Europe/Stockholm', 'Europe/Stockholm'),
  ('Europe/Vienna', 'Europe/Vienna'),
  ('Europe/Warsaw', 'Europe/Warsaw Poland'),
  ('Europe/Zurich', 'Europe/Busingen Europe/Malta Europe/Vaduz Europe/Zurich'),
  ('Pacific/Apia', 'Etc/GMT-13 Pacific/Apia Pacific/Enderbury Pacific/Fakaofo Pacific/Kanton Pacific/Tongatapu'),
  ('Pacific/Auckland', 'Antarctica/McMurdo Antarctica/South_Pole NZ Pacific/Auckland'),
  ('Pacific/Fiji', 'Pacific/Fiji'),
  ('Pacific/Honolulu', 'Etc/GMT+10 HST Pacific/Honolulu Pacific/Johnston Pacific/Rarotonga Pacific/Tahiti US/Hawaii'),
  ('Pacific/Midway', 'Etc/GMT+11 Pacific/Midway Pacific/Niue Pacific/Samoa US/Samoa'),
  ('Pacific/Noumea', 'Asia/Sakhalin Asia/Srednekolymsk Etc/GMT-11 Pacific/Bougainville Pacific/Efate
Pacific/Guadalcanal Pacific/Kosrae Pacific/Noumea Pacific/Pohnpei Pacific/Ponape'),
  ('Pacific/Pago_Pago', 'Pacific/Pago_Pago'),
  ('Pacific/Port_Moresby', 'Antarctica/DumontDUrville Etc/GMT-10 Pacific/Chuuk Pacific/Guam Pacific/Port_Moresby
Pacific/Saipan Pacific/Truk Pacific/Yap'),
  ('UTC', 'Etc/UTC GMT GMT+0 GMT-0 GMT0 Iceland UCT UTC Universal Zulu')
) as known (zoom_name, names)
cross join lateral regexp_split_to_table(known.names, '\s+') as name;

-- Zones that are younger than this list.
insert into video_sessions_private.time_zones (name)
select name from pg_catalog.pg_timezone_names
where name !~ '^(posix|right|SystemV)/|^(Factory|localtime|posixrules)$'
on conflict do nothing;

-- Whether a device may report this name. Java and Android also write a fixed distance from Greenwich ("GMT+02:00").
create function video_sessions_private.is_time_zone(name text) returns boolean
language sql stable set search_path = ''
as $$
  select exists (select from video_sessions_private.time_zones z where z.name = is_time_zone.name)
    or coalesce(is_time_zone.name ~ '^(GMT|UTC)[+-](\d|[01]\d)(:?[0-5]\d)?$', false)
$$;

-- What Zoom is told of a session's time zone; null: nothing. Its start goes to Zoom in UTC anyway.
create function video_sessions_private.zoom_zone(name text) returns text
language sql stable set search_path = ''
as $$ select z.zoom_name from video_sessions_private.time_zones z where z.name = zoom_zone.name $$;

-- Whether two zones have the same rules, as far as both are known.
create function video_sessions_private.same_zone(one text, other text) returns boolean
language sql stable set search_path = ''
as $$
  select coalesce(
    coalesce(video_sessions_private.zoom_zone(one), one)
      = coalesce(video_sessions_private.zoom_zone(other), other),
    true
  )
$$;

-- 015_values.sql

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

-- 020_sessions.sql

-- Sessions: the table that apps read, and what holds for a session whoever changes it.

create table public.video_sessions (
  id uuid primary key default gen_random_uuid(),
  host_id uuid not null default auth.uid() references auth.users (id) on delete cascade,
  provider text not null check (provider in ('zoom', 'external')),
  title text not null check (video_sessions_private.is_title(title)),
  description text not null default '' check (char_length(description) <= 2000),
  scheduled_start timestamptz not null,
  timezone text not null default 'UTC',
  -- The app chooses 30, 45 or 60 (a trigger sees to that); a host can set any length in Zoom itself.
  duration_minutes integer not null check (duration_minutes between 1 and 1440),
  max_participants integer not null check (max_participants between 2 and 5),
  status text not null default 'scheduled' check (status in ('scheduled', 'ended', 'cancelled')),
  started_at timestamptz,
  ended_at timestamptz,
  join_url text not null check (join_url ~ '^https?://[^\s/]+' and char_length(join_url) <= 2000),
  provider_meeting_id text unique,
  passcode text,
  settings jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  check ((provider = 'zoom') = (provider_meeting_id is not null))
);
create index video_sessions_host_id_scheduled_start_idx on public.video_sessions (host_id, scheduled_start);
create index video_sessions_scheduled_start_idx on public.video_sessions (scheduled_start) where status = 'scheduled';
comment on table public.video_sessions is
  'Sessions. status, started_at and ended_at follow from what happened (075_life.sql). Never holds a start URL.';
comment on column public.video_sessions.max_participants is 'The host counts as one.';
comment on column public.video_sessions.provider_meeting_id is 'Zoom''s meeting number, as text: it may pass 2^53.';
comment on column public.video_sessions.settings is
  'What Zoom made of the meeting''s settings: waiting_room, join_before_host, mute_upon_entry, host_video, '
  'participant_video, each true or false.';

create function video_sessions_private.check_session() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  taken integer;
begin
  new.updated_at := now();
  -- Zoom has no fractions of seconds, and what it holds is compared with this.
  new.scheduled_start := date_trunc('second', new.scheduled_start);
  if tg_op = 'UPDATE' and new.max_participants < old.max_participants then
    select count(*) into taken from public.video_session_participants where session_id = new.id;
    if taken > new.max_participants then
      raise exception using errcode = '23514',
        message = format('%s people take part already. Remove somebody before you lower max_participants.', taken);
    end if;
  end if;
  if (tg_op = 'INSERT' or new.timezone <> old.timezone) and not video_sessions_private.is_time_zone(new.timezone) then
    raise exception using errcode = '23514',
      message = 'timezone must be the name of a time zone, such as Europe/Berlin.';
  end if;
  if not video_sessions_private.is_app() then
    return new;
  end if;

  new.title := btrim(new.title);
  if new.duration_minutes not in (30, 45, 60) and (tg_op = 'INSERT'
    or new.duration_minutes <> old.duration_minutes)
  then
    raise exception using errcode = '23514', message = 'duration_minutes must be 30, 45 or 60.';
  end if;
  if (tg_op = 'INSERT' or new.scheduled_start <> old.scheduled_start)
    and new.scheduled_start not between now() - interval '5 minutes' and now() + interval '5 years'
  then
    raise exception using errcode = '23514',
      message = 'scheduled_start must be in the future, and at most five years ahead.';
  end if;
  if not video_sessions_private.is_title(new.title) then
    raise exception using errcode = '23514', message = format('title %s.', video_sessions_private.title_rule());
  end if;
  if new.provider = 'external' and not video_sessions_private.is_join_url(new.join_url) then
    raise exception using errcode = '23514', message = format('join_url %s.', video_sessions_private.join_url_rule());
  end if;
  if tg_op = 'UPDATE' and new.provider = 'zoom' and new.join_url <> old.join_url then
    raise exception using errcode = '23514',
      message = 'The link of a Zoom session is Zoom''s own. It cannot be changed.';
  end if;
  -- What only the clock ended can be moved, and is scheduled again.
  if tg_op = 'UPDATE' and old.status <> 'scheduled' and (
    new.status <> old.status
    or (new.scheduled_start, new.duration_minutes) <> (old.scheduled_start, old.duration_minutes)
      and not video_sessions_private.only_the_clock_ended(new.id)
  ) then
    raise exception using errcode = '23514',
      message = format('This session is %s and stays so. Create a new one.', old.status);
  end if;
  return new;
end
$$;
create trigger check_session before insert or update on public.video_sessions
for each row execute function video_sessions_private.check_session();

-- 025_invites.sql

-- Invitations: the code of each session, by which those join who hold it.

-- The code of a session, for its host alone: participants read video_sessions.
create table public.video_session_invites (
  session_id uuid primary key references public.video_sessions (id) on delete cascade,
  host_id uuid not null references auth.users (id) on delete cascade,
  share_code text not null unique default video_sessions_private.new_share_code()
);
create index video_session_invites_host_id_idx on public.video_session_invites (host_id);
comment on table public.video_session_invites is 'Share codes, for the host alone.';
comment on column public.video_session_invites.share_code is 'Lets its holder join: 60 random bits.';

create function video_sessions_private.add_invite() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  insert into public.video_session_invites (session_id, host_id) values (new.id, new.host_id);
  return null;
end
$$;
create trigger add_invite after insert on public.video_sessions
for each row execute function video_sessions_private.add_invite();

-- A session as the functions answer it. Field by field: a column that is added later is not in their answers by itself.
create function video_sessions_private.session_as_json(session public.video_sessions) returns jsonb
language sql stable set search_path = ''
as $$
  select jsonb_build_object(
    'id', session.id, 'host_id', session.host_id, 'provider', session.provider, 'title', session.title,
    'description', session.description, 'scheduled_start', session.scheduled_start, 'timezone', session.timezone,
    'duration_minutes', session.duration_minutes, 'max_participants', session.max_participants,
    'status', session.status, 'started_at', session.started_at, 'ended_at', session.ended_at,
    'join_url', session.join_url, 'provider_meeting_id', session.provider_meeting_id, 'passcode', session.passcode,
    'settings', session.settings, 'created_at', session.created_at, 'updated_at', session.updated_at
  )
$$;

-- The same for its host when it has just been made.
create function video_sessions_private.session_with_code(session public.video_sessions) returns jsonb
language sql stable security definer set search_path = ''
as $$
  select video_sessions_private.session_as_json(session) || jsonb_build_object(
    'share_code', (select share_code from public.video_session_invites where session_id = session.id)
  )
$$;

-- The host replaces the code: links that were passed on lead nowhere any more.
create function public.renew_share_code(session_id uuid) returns void
language plpgsql security definer set search_path = ''
as $$
begin
  update public.video_session_invites invite set share_code = default
  where invite.session_id = renew_share_code.session_id and invite.host_id = auth.uid();
  if not found then
    raise sqlstate 'PGRST' using
      message = '{"code": "session_not_found", "message": "There is no such session."}',
      detail = '{"status": 404, "headers": {}}';
  end if;
end
$$;
comment on function public.renew_share_code is
  'Replaces the share code of the caller''s session. 404 session_not_found.';

-- 030_participants.sql

-- Who takes part in a session. Capacity is kept here, whoever adds people.

create table public.video_session_participants (
  session_id uuid not null references public.video_sessions (id) on delete cascade,
  user_id uuid not null references auth.users (id) on delete cascade,
  role text not null default 'participant' check (role in ('host', 'participant')),
  -- The session's, by trigger, for policies to compare. No foreign key: PostgREST would not know by which of two to
  -- embed.
  host_id uuid not null default auth.uid(),
  created_at timestamptz not null default now(),
  primary key (session_id, user_id)
);
create index video_session_participants_user_id_idx on public.video_session_participants (user_id, role, session_id);
create index video_session_participants_host_id_idx on public.video_session_participants (host_id, session_id);
create unique index video_session_participants_one_host_idx on public.video_session_participants (session_id)
where role = 'host';

create function video_sessions_private.fill_host_id() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  new.host_id := (select host_id from public.video_sessions where id = new.session_id);
  return new;
end
$$;
create trigger fill_host_id before insert on public.video_session_participants
for each row execute function video_sessions_private.fill_host_id();

-- The host takes part from the beginning.
create function video_sessions_private.add_host() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  insert into public.video_session_participants (session_id, user_id, role) values (new.id, new.host_id, 'host');
  return null;
end
$$;
create trigger add_host after insert on public.video_sessions
for each row execute function video_sessions_private.add_host();

-- Capacity, whoever inserts: the lock on the session lets one insert at a time count. After the insert, so that the
-- policies have spoken by then: to whom they say no, this must not tell that a session exists or is full.
create function video_sessions_private.check_capacity() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  session public.video_sessions;
  taken integer;
begin
  select * into session from public.video_sessions where id = new.session_id for no key update;
  if session.status <> 'scheduled' and video_sessions_private.is_app() then
    raise exception using errcode = '23514',
      message = format('This session is %s: nobody can be added.', session.status);
  end if;
  select count(*) into taken from public.video_session_participants where session_id = new.session_id;
  if taken > session.max_participants then
    raise exception using errcode = '23514',
      message = format('This session is full: it has room for %s, the host included.', session.max_participants);
  end if;
  return null;
end
$$;
create trigger check_capacity after insert on public.video_session_participants
for each row execute function video_sessions_private.check_capacity();

-- 035_quotas.sql

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

-- 040_connections.sql

-- A host's connection to Zoom. Each function for the service role (`edge_…`, here and in the files that follow) is one
-- step of an edge function and one transaction; it answers an object whose `outcome` says what happened. Tokens come
-- and go sealed.

-- A user's Zoom connection. It does not go with the user's account: the account's meetings have to be deleted at Zoom
-- and its tokens revoked first (see account_deleted_at).
create table public.user_integrations_zoom (
  user_id uuid primary key,
  zoom_user_id text not null,
  zoom_account_id text not null,
  -- Zoom does not always tell it.
  zoom_account_email text,
  scope text not null,
  access_token text,
  refresh_token text,
  access_token_expires_at timestamptz not null,
  expires_at timestamptz not null,
  status text not null default 'connected' check (status in ('connected', 'expired')),
  expired_reason text check (expired_reason in (
    'revoked', 'owner_gone', 'disabled_by_admin', 'superseded', 'missing_scope', 'connected_elsewhere', 'idle'
  )),
  token_version bigint not null default 1,
  refreshed_at timestamptz not null default now(),
  used_at timestamptz not null default now(),
  lease_holder uuid,
  lease_until timestamptz,
  cooldown_until timestamptz,
  daily_limit_until timestamptz,
  account_deleted_at timestamptz,
  connected_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  check (status = 'expired' or (access_token is not null and refresh_token is not null)),
  check ((status = 'expired') = (expired_reason is not null)),
  -- Sealed by the functions, or not stored at all.
  check (access_token like 'v1.%' and refresh_token like 'v1.%')
)
-- Room on each page for new versions of its rows: most updates change no index then.
with (fillfactor = 70);
create index user_integrations_zoom_zoom_user_id_idx on public.user_integrations_zoom (zoom_user_id, zoom_account_id);
create index user_integrations_zoom_refreshed_at_idx on public.user_integrations_zoom (refreshed_at)
where status = 'connected';
create index user_integrations_zoom_access_token_expires_at_idx
  on public.user_integrations_zoom (access_token_expires_at) where status = 'connected';
create index user_integrations_zoom_account_deleted_at_idx
  on public.user_integrations_zoom (account_deleted_at) where account_deleted_at is not null;
comment on table public.user_integrations_zoom is
  'Zoom connections. Tokens are sealed (AES-256-GCM) by the functions, and no client role is granted their columns.';
comment on column public.user_integrations_zoom.expires_at is
  'When the connection lapses unless it is used: about 90 days after the last refresh.';
comment on column public.user_integrations_zoom.token_version is
  'Counts every change of the tokens; new tokens are saved by compare-and-swap on it.';
comment on column public.user_integrations_zoom.lease_holder is 'The request that is refreshing, until lease_until.';
comment on column public.user_integrations_zoom.cooldown_until is
  'Until then nobody asks Zoom''s token endpoint: it failed a moment ago.';
comment on column public.user_integrations_zoom.daily_limit_until is
  'Zoom has refused more changes of meetings for the day: none is sent before this.';
comment on column public.user_integrations_zoom.used_at is 'When a function last took an access token to use it.';
comment on column public.user_integrations_zoom.account_deleted_at is
  'The user is gone: zoom-sync deletes the meetings, revokes the tokens, removes this row.';
create trigger touch before update on public.user_integrations_zoom for each row
execute function video_sessions_private.touch();

-- Versions of tokens. None comes twice, so that a late word about the tokens of a connection that has gone is never
-- taken for one about those of the connection that came after it.
create sequence video_sessions_private.token_versions;

-- How the user's connection stands, for the app.
create function public.zoom_connection() returns jsonb
language plpgsql stable security definer set search_path = ''
as $$
declare
  connection public.user_integrations_zoom;
begin
  select * into connection from public.user_integrations_zoom where user_id = auth.uid();
  if not found then
    return '{"state": "not_connected", "zoom_account_email": null, "expires_at": null, "reason": null}';
  end if;
  return jsonb_build_object(
    'state',
    case when connection.status = 'connected' and connection.expires_at > now() then 'connected' else 'expired' end,
    'zoom_account_email', connection.zoom_account_email,
    'expires_at', connection.expires_at,
    'reason',
    coalesce(connection.expired_reason, case when connection.expires_at <= now() then 'idle' end)
  );
end
$$;
comment on function public.zoom_connection is
  '{state: not_connected|connected|expired, zoom_account_email, expires_at, reason} of the caller.';

-- Ends a connection without removing it: the host has to reconnect, and is told why. Tokens that are dead are not kept;
-- those that only lack a scope still live at Zoom and are needed to revoke them.
create function video_sessions_private.expire_connection(target uuid, reason text) returns void
language sql security definer set search_path = ''
as $$
  update public.user_integrations_zoom set
    status = 'expired', expired_reason = reason, expires_at = least(expires_at, now()),
    access_token = case when reason = 'missing_scope' then access_token end,
    refresh_token = case when reason = 'missing_scope' then refresh_token end,
    lease_holder = null, lease_until = null, cooldown_until = null
  where user_id = target and status = 'connected'
$$;

-- Records that the API itself said that the connection has ended (a missing scope, a user that is gone).
create function public.edge_connection_expire(user_id uuid, token_version bigint, reason text) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  connection public.user_integrations_zoom;
begin
  select * into connection from public.user_integrations_zoom
  where user_id = edge_connection_expire.user_id for no key update;
  if connection.token_version is distinct from edge_connection_expire.token_version then
    return '{"outcome": "superseded"}';
  end if;
  perform video_sessions_private.expire_connection(edge_connection_expire.user_id, edge_connection_expire.reason);
  return '{"outcome": "recorded"}';
end
$$;

-- 045_zoom_accounts.sql

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

-- 050_consent.sql

-- Connecting a Zoom account: a state on its way to Zoom's consent page and back, then a pending connection, then the
-- connection itself, once the user who asked for the consent page has confirmed it. Whoever opened that page need not
-- be that user, so what Zoom gives there connects nobody yet.

-- OAuth states on their way to Zoom's consent page and back: a hash, never the state itself.
create table video_sessions_private.zoom_oauth_states (
  state_hash text primary key,
  user_id uuid not null references auth.users (id) on delete cascade,
  sealed_verifier text not null,
  expires_at timestamptz not null,
  consumed_at timestamptz,
  -- The hash of the handle that belongs to the code that the state was consumed with.
  handle_hash text,
  result text,
  confirmed_at timestamptz,
  created_at timestamptz not null default now()
);
create index zoom_oauth_states_user_id_idx on video_sessions_private.zoom_oauth_states (user_id);
create index zoom_oauth_states_expires_at_idx on video_sessions_private.zoom_oauth_states (expires_at);
create unique index zoom_oauth_states_handle_hash_idx on video_sessions_private.zoom_oauth_states (handle_hash);

-- What Zoom gave at a consent that nobody has confirmed yet, for ten minutes; then zoom-sync revokes it. One for each
-- Zoom user: a newer consent ends the tokens of an older one at Zoom. It outlives its user's account, because its
-- tokens have to be revoked.
create table video_sessions_private.pending_connections (
  handle_hash text primary key,
  user_id uuid not null,
  zoom_user_id text not null unique,
  zoom_account_id text not null,
  zoom_account_email text,
  scope text not null,
  access_token text not null check (access_token like 'v1.%'),
  refresh_token text not null check (refresh_token like 'v1.%'),
  access_token_expires_at timestamptz not null,
  expires_at timestamptz not null,
  created_at timestamptz not null default now()
);
create index pending_connections_user_id_idx on video_sessions_private.pending_connections (user_id);
create index pending_connections_expires_at_idx on video_sessions_private.pending_connections (expires_at);

-- zoom-oauth-start: remembers a state for ten minutes. A user has five live ones at most; the oldest give way.
create function public.edge_oauth_begin(user_id uuid, state_hash text, sealed_verifier text) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  ends_at constant timestamptz := now() + interval '10 minutes';
  refusal jsonb;
begin
  if not video_sessions_private.may_host(edge_oauth_begin.user_id) then
    return '{"outcome": "not_a_host"}';
  end if;
  -- One at a time for each user, or each of many at once would count four live ones.
  refusal := video_sessions_private.use_quota('consents_an_hour', edge_oauth_begin.user_id);
  if refusal is not null then
    return refusal;
  end if;
  delete from video_sessions_private.zoom_oauth_states where state_hash in (
    select state_hash from video_sessions_private.zoom_oauth_states
    where user_id = edge_oauth_begin.user_id and consumed_at is null
    order by created_at desc offset 4
  );
  insert into video_sessions_private.zoom_oauth_states (state_hash, user_id, sealed_verifier, expires_at)
  values (edge_oauth_begin.state_hash, edge_oauth_begin.user_id, edge_oauth_begin.sealed_verifier, ends_at);
  return jsonb_build_object('outcome', 'ok', 'expires_at', ends_at);
end
$$;

-- zoom-oauth-callback, first: the first call with a state may exchange its code; the same call again learns what came
-- of it. A call with another code learns nothing: the user who asked for the consent page knows the state, and must not
-- come by the handle of somebody else's consent. `denied` is what Zoom said in place of a code; there is no handle
-- then.
create function public.edge_oauth_consume(state_hash text, handle_hash text, denied text) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  state video_sessions_private.zoom_oauth_states;
begin
  select * into state from video_sessions_private.zoom_oauth_states
  where state_hash = edge_oauth_consume.state_hash for update;
  if not found
    or state.consumed_at is not null and state.handle_hash is distinct from edge_oauth_consume.handle_hash
  then
    return '{"outcome": "unknown"}';
  end if;
  if state.result is not null then
    return jsonb_build_object('outcome', 'finished', 'result', state.result);
  end if;
  if state.consumed_at is not null then
    -- The call that consumed it has had more than enough time: it died.
    if state.consumed_at < now() - interval '2 minutes' then
      return '{"outcome": "expired"}';
    end if;
    return '{"outcome": "running"}';
  end if;
  if state.expires_at <= now() then
    return '{"outcome": "expired"}';
  end if;
  update video_sessions_private.zoom_oauth_states set
    consumed_at = now(), handle_hash = edge_oauth_consume.handle_hash, result = edge_oauth_consume.denied
  where state_hash = edge_oauth_consume.state_hash;
  if edge_oauth_consume.denied is not null then
    return jsonb_build_object('outcome', 'finished', 'result', edge_oauth_consume.denied);
  end if;
  return jsonb_build_object('outcome', 'claimed', 'user_id', state.user_id, 'sealed_verifier', state.sealed_verifier);
end
$$;

-- zoom-oauth-callback, in the end: why nothing was connected, for the same call again.
create function public.edge_oauth_fail(state_hash text, result text) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
begin
  update video_sessions_private.zoom_oauth_states set result = edge_oauth_fail.result
  where state_hash = edge_oauth_fail.state_hash and result is null;
  return '{"outcome": "recorded"}';
end
$$;

-- One decision about a Zoom user at a time, for the rest of the transaction.
create function video_sessions_private.lock_zoom_user(zoom_user text) returns void
language sql set search_path = ''
as $$
  select pg_advisory_xact_lock(hashtextextended('zoom_user ' || zoom_user, 0))
$$;

-- Connections of this Zoom user may have ended at Zoom without a word. The next use of one, or the next run of
-- zoom-sync, refreshes it and finds out.
create function video_sessions_private.refresh_soon(zoom_user text) returns void
language sql security definer set search_path = ''
as $$
  update public.user_integrations_zoom set access_token_expires_at = now(), used_at = now()
  where zoom_user_id = zoom_user and status = 'connected'
$$;

-- Saves a connection over what was there, old verdicts included. The same Zoom user under another app user loses it,
-- since Zoom has ended those tokens already. Needs the lock of the Zoom user.
create function video_sessions_private.save_connection(
  pending video_sessions_private.pending_connections
) returns void
language plpgsql security definer set search_path = ''
as $$
begin
  perform video_sessions_private.expire_connection(other.user_id, 'connected_elsewhere')
  from public.user_integrations_zoom other
  where other.zoom_user_id = pending.zoom_user_id and other.user_id <> pending.user_id;
  insert into public.user_integrations_zoom as connection (
    user_id, zoom_user_id, zoom_account_id, zoom_account_email, scope, access_token, refresh_token, token_version,
    access_token_expires_at, expires_at
  ) values (
    pending.user_id, pending.zoom_user_id, pending.zoom_account_id, pending.zoom_account_email, pending.scope,
    pending.access_token, pending.refresh_token, nextval('video_sessions_private.token_versions'),
    pending.access_token_expires_at, now() + interval '90 days'
  )
  on conflict (user_id) do update set
    zoom_user_id = excluded.zoom_user_id, zoom_account_id = excluded.zoom_account_id,
    zoom_account_email = excluded.zoom_account_email, scope = excluded.scope,
    access_token = excluded.access_token, refresh_token = excluded.refresh_token,
    access_token_expires_at = excluded.access_token_expires_at, expires_at = excluded.expires_at,
    status = 'connected', expired_reason = null, token_version = excluded.token_version,
    refreshed_at = now(), used_at = now(), connected_at = now(),
    lease_holder = null, lease_until = null, cooldown_until = null,
    daily_limit_until = case when connection.zoom_user_id = excluded.zoom_user_id then connection.daily_limit_until end;
  update video_sessions_private.zoom_oauth_states set confirmed_at = now() where handle_hash = pending.handle_hash;
end
$$;

-- zoom-oauth-callback, in the end: keeps what Zoom gave, until its user confirms it. A user who is connected as this
-- Zoom user already has nothing to confirm. `lacking_scope`: it can never be confirmed; zoom-sync decides how it ends.
-- May be repeated.
create function public.edge_oauth_complete(
  state_hash text, user_id uuid, zoom_user_id text, zoom_account_id text, zoom_account_email text, scope text,
  access_token text, refresh_token text, access_expires_in integer, lacking_scope boolean
) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  state video_sessions_private.zoom_oauth_states;
  pending video_sessions_private.pending_connections;
begin
  select * into state from video_sessions_private.zoom_oauth_states
  where state_hash = edge_oauth_complete.state_hash and user_id = edge_oauth_complete.user_id for update;
  if not found or state.handle_hash is null or state.result <> 'success' then
    return '{"outcome": "invalid_state"}';
  end if;
  if state.result = 'success' then
    return jsonb_build_object('outcome', case when state.confirmed_at is null then 'pending' else 'connected' end);
  end if;
  perform video_sessions_private.lock_zoom_user(edge_oauth_complete.zoom_user_id);
  -- Zoom has ended what it gave this Zoom user before: nobody confirms it any more, and nobody needs to revoke it.
  delete from video_sessions_private.pending_connections where zoom_user_id = edge_oauth_complete.zoom_user_id;
  delete from video_sessions_private.zoom_revocations where zoom_user_id = edge_oauth_complete.zoom_user_id;
  insert into video_sessions_private.pending_connections (
    handle_hash, user_id, zoom_user_id, zoom_account_id, zoom_account_email, scope, access_token, refresh_token,
    access_token_expires_at, expires_at
  ) values (
    state.handle_hash, edge_oauth_complete.user_id, edge_oauth_complete.zoom_user_id,
    edge_oauth_complete.zoom_account_id, edge_oauth_complete.zoom_account_email, edge_oauth_complete.scope,
    edge_oauth_complete.access_token, edge_oauth_complete.refresh_token,
    now() + make_interval(secs => edge_oauth_complete.access_expires_in),
    now() + case when edge_oauth_complete.lacking_scope then interval '0' else interval '10 minutes' end
  )
  returning * into pending;
  if edge_oauth_complete.lacking_scope then
    perform video_sessions_private.refresh_soon(pending.zoom_user_id);
    return '{"outcome": "pending"}';
  end if;
  update video_sessions_private.zoom_oauth_states set result = 'success'
  where state_hash = edge_oauth_complete.state_hash;
  if exists (
    select from public.user_integrations_zoom
    where user_id = pending.user_id and zoom_user_id = pending.zoom_user_id and status = 'connected'
  ) then
    delete from video_sessions_private.pending_connections where handle_hash = pending.handle_hash;
    perform video_sessions_private.save_connection(pending);
    return '{"outcome": "connected"}';
  end if;
  perform video_sessions_private.refresh_soon(pending.zoom_user_id);
  return '{"outcome": "pending"}';
end
$$;

-- The app, with what the way back from Zoom carried: makes the pending connection the caller's. Only the user who asked
-- for the consent page can. May be repeated.
create function public.confirm_zoom_connection(handle text) returns void
language plpgsql security definer set search_path = ''
as $$
declare
  hash constant text := video_sessions_private.hash(confirm_zoom_connection.handle);
  caller constant uuid := auth.uid();
  pending video_sessions_private.pending_connections;
begin
  if exists (
    select from video_sessions_private.zoom_oauth_states state
    where state.handle_hash = hash and state.user_id = caller and state.confirmed_at is not null
  ) then
    return;
  end if;
  -- The Zoom user's lock comes first, as everywhere; then the row decides between this and its end by zoom-sync.
  perform video_sessions_private.lock_zoom_user(p.zoom_user_id)
  from video_sessions_private.pending_connections p where p.handle_hash = hash and p.user_id = caller;
  delete from video_sessions_private.pending_connections p
  where p.handle_hash = hash and p.user_id = caller and p.expires_at > now()
  returning * into pending;
  if pending.handle_hash is null and not exists (
    -- The same call, twice at once.
    select from video_sessions_private.zoom_oauth_states state
    where state.handle_hash = hash and state.user_id = caller and state.confirmed_at is not null
  ) then
    raise sqlstate 'PGRST' using
      message = '{"code": "connection_not_confirmable", "message":'
        || ' "This connection cannot be completed: it is too old, or somebody else asked for it. Connect Zoom again."}',
      detail = '{"status": 404, "headers": {}}';
  end if;
  if pending.handle_hash is not null then
    perform video_sessions_private.save_connection(pending);
  end if;
end
$$;
comment on function public.confirm_zoom_connection is
  'Completes a connection with the handle that came back from Zoom. 404 connection_not_confirmable.';

-- 060_tokens.sql

-- Access tokens: who may use one, who refreshes it, and what comes of a refresh.

-- The way to an access token with at least `min_seconds` left: the token, the lease to refresh it, or why there is
-- neither. Tokens of `refused_version` are those that Zoom has refused: nobody is given them again. Takes the row's
-- lock, so that one caller at a time decides.
create function video_sessions_private.claim_token(owner uuid, holder uuid, min_seconds integer,
refused_version bigint) returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  -- Longer than Zoom is waited for (15 s): a holder that lives saves its tokens before anybody else may ask.
  lease_length constant interval := '20 seconds';
  connection public.user_integrations_zoom;
begin
  select * into connection from public.user_integrations_zoom where user_id = owner for no key update;
  if not found then
    return '{"state": "not_connected"}';
  end if;
  if connection.status = 'connected' and connection.expires_at <= now() then
    -- Zoom lets a refresh token die after about 90 days.
    perform video_sessions_private.expire_connection(owner, 'idle');
    return '{"state": "expired", "reason": "idle"}';
  end if;
  if connection.status = 'expired' then
    return jsonb_build_object('state', 'expired', 'reason', connection.expired_reason);
  end if;
  if connection.token_version = refused_version then
    update public.user_integrations_zoom set access_token_expires_at = least(access_token_expires_at, now())
    where user_id = owner
    returning * into connection;
  end if;
  if connection.access_token_expires_at > now() + make_interval(secs => min_seconds) then
    update public.user_integrations_zoom set used_at = now()
    where user_id = owner and used_at < now() - interval '1 minute';
    return jsonb_build_object(
      'state', 'fresh', 'access_token', connection.access_token, 'token_version', connection.token_version
    );
  end if;
  -- The holder itself may ask again: the answer that gave it the lease was lost on the way.
  if connection.lease_until > now() and connection.lease_holder is distinct from holder then
    return '{"state": "busy", "retry_after_ms": 200}';
  end if;
  if connection.cooldown_until > now() then
    return jsonb_build_object(
      'state', 'cooling_down',
      'retry_after_seconds', greatest(1, ceil(extract(epoch from connection.cooldown_until - now()))::integer)
    );
  end if;
  update public.user_integrations_zoom set lease_holder = holder, lease_until = now() + lease_length
  where user_id = owner;
  return jsonb_build_object(
    'state', 'refresh', 'refresh_token', connection.refresh_token, 'token_version', connection.token_version
  );
end
$$;

-- Gives back a lease that was taken for nothing.
create function video_sessions_private.give_back_lease(owner uuid, holder uuid) returns void
language sql security definer set search_path = ''
as $$
  update public.user_integrations_zoom set lease_holder = null, lease_until = null
  where user_id = owner and lease_holder = holder
$$;

-- A token for later, as batches are handed out: one that is fresh now, or else the word to ask again when it is needed.
-- Takes no lease, which could run out before its turn comes.
create function video_sessions_private.peek_token(owner uuid) returns jsonb
language sql stable security definer set search_path = ''
as $$
  select coalesce(
    (
      select jsonb_build_object('state', 'fresh', 'access_token', access_token, 'token_version', token_version)
      from public.user_integrations_zoom
      where user_id = owner and status = 'connected' and access_token_expires_at > now() + interval '1 minute'
    ),
    '{"state": "busy", "retry_after_ms": 0}'
  )
$$;

-- Every function that needs a token: how the connection stands, and the claim to a token.
create function public.edge_token_claim(user_id uuid, holder uuid, min_seconds integer, refused_version bigint)
returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  claim constant jsonb := video_sessions_private.claim_token(
    edge_token_claim.user_id, edge_token_claim.holder, edge_token_claim.min_seconds, edge_token_claim.refused_version
  );
begin
  return jsonb_build_object('token', claim) || coalesce(
    (
      select jsonb_build_object('zoom_account_email', zoom_account_email, 'expires_at', expires_at)
      from public.user_integrations_zoom where user_id = edge_token_claim.user_id
    ),
    '{"zoom_account_email": null, "expires_at": null}'
  );
end
$$;

-- Saves the tokens that came for those of `token_version`. Zoom gave them for a refresh token that works once, so they
-- are the only live ones, whoever holds the lease by now and whatever verdict another caller came to; only newer tokens
-- keep them out (`superseded`), or that there is no connection any more (`refused`). A verdict that is not about tokens
-- stands. May be repeated.
create function public.edge_refresh_commit(
  user_id uuid, token_version bigint, access_token text, refresh_token text, access_expires_in integer, scope text
) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  connection public.user_integrations_zoom;
begin
  select * into connection from public.user_integrations_zoom
  where user_id = edge_refresh_commit.user_id for no key update;
  if not found then
    return '{"outcome": "refused"}';
  end if;
  if connection.access_token = edge_refresh_commit.access_token then
    return jsonb_build_object('outcome', 'saved', 'token_version', connection.token_version);
  end if;
  if connection.token_version <> edge_refresh_commit.token_version
    or connection.expired_reason = 'connected_elsewhere'
  then
    return '{"outcome": "superseded"}';
  end if;
  if connection.expired_reason is distinct from 'missing_scope' then
    connection.status := 'connected';
    connection.expired_reason := null;
    connection.expires_at := now() + interval '90 days';
  end if;
  update public.user_integrations_zoom set
    access_token = edge_refresh_commit.access_token, refresh_token = edge_refresh_commit.refresh_token,
    access_token_expires_at = now() + make_interval(secs => edge_refresh_commit.access_expires_in),
    scope = coalesce(nullif(edge_refresh_commit.scope, ''), scope),
    token_version = nextval('video_sessions_private.token_versions'), refreshed_at = now(),
    status = connection.status, expired_reason = connection.expired_reason, expires_at = connection.expires_at,
    lease_holder = null, lease_until = null, cooldown_until = null
  where user_id = edge_refresh_commit.user_id
  returning * into connection;
  return jsonb_build_object('outcome', 'saved', 'token_version', connection.token_version);
end
$$;

-- Records that a refresh came to nothing. With an `expired_reason` the connection has ended, without one nobody asks
-- Zoom for a while. If the tokens have changed meanwhile, this is about old ones and counts for nothing.
create function public.edge_refresh_fail(
  user_id uuid, holder uuid, token_version bigint, expired_reason text, cooldown_seconds integer
) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  connection public.user_integrations_zoom;
begin
  select * into connection from public.user_integrations_zoom
  where user_id = edge_refresh_fail.user_id for no key update;
  if connection.token_version is distinct from edge_refresh_fail.token_version then
    return '{"outcome": "superseded"}';
  end if;
  if edge_refresh_fail.expired_reason is not null then
    perform video_sessions_private.expire_connection(edge_refresh_fail.user_id, edge_refresh_fail.expired_reason);
  else
    update public.user_integrations_zoom set
      cooldown_until = now() + make_interval(secs => least(edge_refresh_fail.cooldown_seconds, 86400)),
      lease_holder = null, lease_until = null
    where user_id = edge_refresh_fail.user_id and lease_holder = edge_refresh_fail.holder;
  end if;
  return '{"outcome": "recorded"}';
end
$$;

-- Which connections are due for a refresh: those that will be needed within ten minutes (a session is about to start,
-- or the token that was used last is about to run out), and those that nobody has refreshed for 30 days.
create function video_sessions_private.connections_due() returns setof public.user_integrations_zoom
language sql stable security definer set search_path = ''
as $$
  with due as (
    select user_id from public.user_integrations_zoom
    where status = 'connected' and refreshed_at < now() - interval '30 days'
    union
    select user_id from public.user_integrations_zoom
    where status = 'connected' and used_at >= refreshed_at
      and access_token_expires_at between now() - interval '10 minutes' and now() + interval '10 minutes'
    union
    select connection.user_id
    from public.video_sessions session
    join public.user_integrations_zoom connection on connection.user_id = session.host_id
    where session.provider = 'zoom' and session.status = 'scheduled'
      and session.scheduled_start between now() - interval '5 minutes' and now() + interval '10 minutes'
      and connection.status = 'connected' and connection.access_token_expires_at < now() + interval '10 minutes'
  )
  select connection.* from due
  join public.user_integrations_zoom connection on connection.user_id = due.user_id
  where connection.cooldown_until is null or connection.cooldown_until <= now()
$$;

-- Connections whose refresh keeps failing are due again every minute. However many there are, they do not keep the
-- others from their turn, who would lapse.

create function public.edge_refresh_due(max_rows integer) returns jsonb
language sql stable security definer set search_path = ''
as $$
  select jsonb_build_object(
    'user_ids', coalesce(jsonb_agg(user_id) filter (where number <= max_rows), '[]'),
    'remaining', greatest(0, count(*) - max_rows)
  )
  -- Whoever would lapse first goes first, but after all others if a refresh has failed (`cooldown_until`) or was never
  -- heard of again (`lease_until`) since the last that succeeded: new tokens clear both. Among those, whoever has
  -- waited longest.
  from (
    select user_id, row_number() over (
      order by greatest(cooldown_until, lease_until) nulls first, expires_at, user_id
    ) as number
    from video_sessions_private.connections_due()
  ) as due
$$;

-- 070_outbox.sql

-- What the app changes in sessions is told to Zoom: triggers write the outbox, zoom-sync sends it.
-- Locks are always taken in this order: session, zoom_meetings, zoom_outbox.

-- What Zoom is known to hold of a session's meeting: the difference to the session is what Zoom has to be told.
create table video_sessions_private.zoom_meetings (
  session_id uuid primary key references public.video_sessions (id) on delete cascade,
  zoom_user_id text,
  title text not null,
  description text not null,
  scheduled_start timestamptz not null,
  -- As Zoom calls it. Null until Zoom has said which one it took.
  timezone text,
  duration_minutes integer not null,
  title_at timestamptz not null default '-infinity',
  scheduled_start_at timestamptz not null default '-infinity',
  timezone_at timestamptz not null default '-infinity',
  duration_minutes_at timestamptz not null default '-infinity',
  deleted_at timestamptz,
  recovered_at timestamptz,
  zoom_account_id text,
  uuid text,
  uuid_at timestamptz not null default '-infinity',
  heard_at timestamptz
);
comment on table video_sessions_private.zoom_meetings is
  'What Zoom holds. The columns *_at say as of when: an older event changes nothing.';
comment on column video_sessions_private.zoom_meetings.deleted_at is
  'When it was deleted, unless it was recovered later (recovered_at).';
comment on column video_sessions_private.zoom_meetings.uuid is
  'Of the instance that goes on, or of the next one, when Zoom last said (uuid_at).';
comment on column video_sessions_private.zoom_meetings.heard_at is
  'When Zoom last told or answered something about this meeting.';

-- Changes on their way to Zoom: one row a meeting at most, however often the app changes its session.
create table video_sessions_private.zoom_outbox (
  id bigint generated always as identity primary key,
  meeting_id text not null unique,
  session_id uuid not null,
  user_id uuid not null,
  zoom_user_id text,
  kind text not null check (kind in ('update', 'delete', 'end')),
  revision bigint not null default 1,
  attempts integer not null default 0,
  last_code text check (last_code in (
    -- It waits for something, and that is no try.
    'turn', 'not_connected', 'other_account', 'cooling_down', 'daily_limit', 'rate_limit', 'no_token', 'misconfigured',
    'meeting_running',
    -- A try that failed.
    'unclear', 'refused', 'cannot_host', 'internal'
  )),
  next_attempt_at timestamptz not null default now(),
  claimed_by uuid,
  claimed_account text,
  claimed_until timestamptz,
  claimed_at timestamptz,
  claimed_revision bigint,
  claimed_desired jsonb,
  dead_at timestamptz,
  created_at timestamptz not null default now()
);
-- What is claimed is not due before the claim has run out: no claim reads what another holds.
create index zoom_outbox_due_idx on video_sessions_private.zoom_outbox (greatest(next_attempt_at, claimed_until))
where dead_at is null;
create index zoom_outbox_user_id_idx on video_sessions_private.zoom_outbox (user_id, next_attempt_at);
create index zoom_outbox_turn_idx on video_sessions_private.zoom_outbox (user_id, next_attempt_at)
where last_code = 'turn';
create index zoom_outbox_claimed_idx on video_sessions_private.zoom_outbox (claimed_account)
where claimed_until is not null;
create index zoom_outbox_dead_at_idx on video_sessions_private.zoom_outbox (dead_at) where dead_at is not null;
create index zoom_outbox_created_at_idx on video_sessions_private.zoom_outbox (created_at);
create index zoom_outbox_session_id_idx on video_sessions_private.zoom_outbox (session_id);
comment on column video_sessions_private.zoom_outbox.revision is
  'Counts the changes: one that came while an earlier was being sent is sent next.';
comment on column video_sessions_private.zoom_outbox.claimed_desired is
  'What was sent last, until it is known that Zoom holds it.';
comment on column video_sessions_private.zoom_outbox.last_code is
  'Why it has not been sent yet. turn: as many of its Zoom account''s as may be are being sent.';
comment on column video_sessions_private.zoom_outbox.claimed_account is
  'The Zoom account that a claimed change is sent to: two at a time.';
comment on column video_sessions_private.zoom_outbox.dead_at is
  'Given up after 12 tries; see edge_outbox_dead_letters() and edge_outbox_retry().';

-- Puts a change on its way, or adds it to one that is on its way already. What that one waits for stays, but a deletion
-- is not counted among Zoom's changes a day, and what was tried in vain is tried again at once.
create function video_sessions_private.enqueue(
  meeting_id text, session_id uuid, user_id uuid, zoom_user_id text, kind text
) returns void
language sql security definer set search_path = ''
as $$
  insert into video_sessions_private.zoom_outbox as task (meeting_id, session_id, user_id, zoom_user_id, kind)
  values (enqueue.meeting_id, enqueue.session_id, enqueue.user_id, enqueue.zoom_user_id, enqueue.kind)
  on conflict (meeting_id) do update set
    kind = case
      when 'delete' in (task.kind, excluded.kind) then 'delete'
      when 'end' in (task.kind, excluded.kind) then 'end'
      else excluded.kind
    end,
    revision = task.revision + 1, attempts = 0, dead_at = null,
    next_attempt_at = case
      when task.last_code in ('turn', 'not_connected', 'other_account', 'cooling_down', 'rate_limit')
        or task.last_code = 'daily_limit' and excluded.kind = 'update'
        then task.next_attempt_at
      else now()
    end
$$;

-- In PL/pgSQL, since SQL would be planned anew for every row.
-- Which details Zoom would have to be told: those in which it differs from the session. Zoom is told a time zone of its
-- own; zones with the same rules do not differ. A start in the past it would ignore.
create function video_sessions_private.untold(session public.video_sessions,
meeting video_sessions_private.zoom_meetings) returns jsonb
language plpgsql stable set search_path = ''
as $$
begin
  return jsonb_strip_nulls(jsonb_build_object(
    'title', nullif(session.title, meeting.title),
    'description', nullif(session.description, meeting.description),
    'scheduled_start', case when session.scheduled_start > now()
      then nullif(session.scheduled_start, meeting.scheduled_start) end,
    'timezone', case
      when session.timezone is distinct from meeting.timezone
        and not video_sessions_private.same_zone(session.timezone, coalesce(meeting.timezone, ''))
        then video_sessions_private.zoom_zone(session.timezone)
    end,
    'duration_minutes', nullif(session.duration_minutes, meeting.duration_minutes)
  ));
end
$$;

-- Whether Zoom would have to be told anything.
create function video_sessions_private.differs(session public.video_sessions,
meeting video_sessions_private.zoom_meetings) returns boolean
language sql stable set search_path = ''
as $$ select video_sessions_private.untold(session, meeting) <> '{}' $$;

-- Whether a session's meeting has no reason to exist: a person cancelled it, or ended it before it was ever held, which
-- must leave no open door at Zoom.
create function video_sessions_private.is_unwanted(session public.video_sessions) returns boolean
language plpgsql stable security definer set search_path = ''
as $$
begin
  return exists (
    select from video_sessions_private.session_life
    where session_id = session.id and (closed_as = 'cancelled' or closed_as = 'ended' and session.started_at is null)
  );
end
$$;

-- Whether a host has granted what is needed to end a meeting that goes on.
create function video_sessions_private.may_end(host uuid) returns boolean
language plpgsql stable security definer set search_path = ''
as $$
begin
  return exists (
    select from public.user_integrations_zoom
    where user_id = host and string_to_array(scope, ' ') && array['meeting:update:status', 'meeting:write']
  );
end
$$;

create function video_sessions_private.tell_zoom_of_change() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  meeting video_sessions_private.zoom_meetings;
  kind text;
begin
  select * into meeting from video_sessions_private.zoom_meetings where session_id = new.id;
  if not found or meeting.deleted_at is not null then
    return null;
  end if;
  -- Also where it is told late that it was never held.
  if (new.status, new.started_at) is distinct from (old.status, old.started_at)
    and video_sessions_private.is_unwanted(new)
  then
    kind := 'delete';
  elsif new.status <> old.status and exists (
    select from video_sessions_private.session_life where session_id = new.id and closed_as = 'ended'
  ) then
    -- The host ends a session that was held. Its meeting may go on, though Zoom has not told: it is ended as well.
    -- Where we may not end it, it is deleted when it is over.
    kind := case
      when video_sessions_private.may_end(new.host_id) and now() < new.scheduled_start
        + make_interval(mins => new.duration_minutes) + interval '24 hours'
        then 'end'
      when video_sessions_private.is_running(new.id) then 'delete'
    end;
  elsif new.status = 'scheduled' and (
    video_sessions_private.differs(new, meeting)
    -- Changed back while the change is being sent: Zoom will hold it in a moment.
    or video_sessions_private.is_app() and exists (
      select from video_sessions_private.zoom_outbox task
      where task.meeting_id = new.provider_meeting_id and task.kind = 'update'
    )
  ) then
    kind := 'update';
  end if;
  if kind is not null then
    perform video_sessions_private.enqueue(
      new.provider_meeting_id, new.id, new.host_id, meeting.zoom_user_id, kind
    );
  end if;
  return null;
end
$$;
create trigger tell_zoom_of_change after update on public.video_sessions
for each row when (
  (
    old.title, old.description, old.scheduled_start, old.timezone, old.duration_minutes, old.status, old.started_at
  ) is distinct from (
    new.title, new.description, new.scheduled_start, new.timezone, new.duration_minutes, new.status, new.started_at
  )
)
execute function video_sessions_private.tell_zoom_of_change();

-- Before the row goes, since what Zoom holds goes with it. A session that was held keeps its meeting, which is history
-- there too, unless the whole account goes.
create function video_sessions_private.tell_zoom_of_delete() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  meeting video_sessions_private.zoom_meetings;
begin
  select * into meeting from video_sessions_private.zoom_meetings where session_id = old.id;
  if found and meeting.deleted_at is null
    and (
      old.started_at is null or video_sessions_private.is_running(old.id)
      or not exists (select from auth.users where id = old.host_id)
    )
  then
    perform video_sessions_private.enqueue(
      old.provider_meeting_id, old.id, old.host_id, meeting.zoom_user_id, 'delete'
    );
  end if;
  return old;
end
$$;
create trigger tell_zoom_of_delete before delete on public.video_sessions
for each row execute function video_sessions_private.tell_zoom_of_delete();

-- Marks a meeting as gone at Zoom: there is nothing left to tell, and a session that was still to come is cancelled.
-- `known_from`: an event of Zoom's (`event`), or the answer to a question (`answer`), which is only believed together
-- with a last DELETE, so that a meeting is never left without its session.
create function video_sessions_private.meeting_is_gone(target uuid, gone_at timestamptz, known_from text) returns void
language plpgsql security definer set search_path = ''
as $$
declare
  session public.video_sessions;
  meeting video_sessions_private.zoom_meetings;
begin
  select * into session from public.video_sessions where id = target for no key update;
  if not found then
    return;
  end if;
  update video_sessions_private.zoom_meetings set deleted_at = greatest(deleted_at, gone_at)
  where session_id = target and (recovered_at is null or recovered_at < gone_at) returning * into meeting;
  if not found then
    return;
  end if;
  delete from video_sessions_private.zoom_outbox where meeting_id = session.provider_meeting_id;
  delete from public.video_session_host_meta where session_id = target;
  perform video_sessions_private.settle(target);
  if known_from = 'answer' then
    perform video_sessions_private.enqueue(
      session.provider_meeting_id, session.id, session.host_id, meeting.zoom_user_id, 'delete'
    );
  end if;
end
$$;

-- A connection that can be used again brings back what was put off for it. What somebody else has locked is being
-- looked at in this moment: it is left to them, since whoever holds a change may be waiting for the connection.
create function video_sessions_private.connection_is_back() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  update video_sessions_private.zoom_outbox set next_attempt_at = now(), last_code = null
  where id in (
    select id from video_sessions_private.zoom_outbox
    where user_id = new.user_id and next_attempt_at > now() and dead_at is null
      and last_code in ('not_connected', 'other_account', 'cooling_down', 'daily_limit')
    for update skip locked
  );
  update video_sessions_private.session_creations set next_check_at = now()
  where id in (
    select id from video_sessions_private.session_creations
    where user_id = new.user_id and state in ('running', 'unknown') and put_off
    for update skip locked
  );
  return null;
end
$$;
create trigger connection_is_made after insert on public.user_integrations_zoom
for each row execute function video_sessions_private.connection_is_back();
create trigger connection_is_back after update on public.user_integrations_zoom
for each row when (
  new.status = 'connected' and (
    old.status <> 'connected' or old.zoom_user_id <> new.zoom_user_id
    or coalesce(new.cooldown_until, '-infinity') < coalesce(old.cooldown_until, '-infinity')
    or coalesce(new.daily_limit_until, '-infinity') < coalesce(old.daily_limit_until, '-infinity')
  )
)
execute function video_sessions_private.connection_is_back();

-- Claims what is due for five minutes: much longer than it takes to send one change. Of each Zoom account two changes
-- are being sent at a time, whoever sends them; what has to wait for its turn queues behind its host's others. A
-- meeting belongs to the Zoom user that made it: while its host is connected as another one, or not at all, its changes
-- wait.
--
-- What is found blocked is put off, so that it does not stand in front of what can be sent: for as long as the
-- connection says, or where nobody knows how long, for half of its age, a minute at least and six hours at most.
-- `connection_is_back` brings it back before that.
--
-- `only_user`: of one user alone; what waits for its turn, too. With `scope` `everything` (the connection is about to
-- end) also what would be tried again later, once. `busy` says that somebody else is sending some of this user's
-- changes, or of their Zoom account's; `waiting`, how many changes of this user Zoom has not confirmed.
-- `more`: another claim may find more at once; `next_due_in_ms`: one that comes later will.
create function public.edge_outbox_claim(holder uuid, max_rows integer, only_user uuid, scope text) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  max_at_once constant integer := 2;
  max_looked_at constant integer := 50;
  candidates bigint[];
  candidate bigint;
  task video_sessions_private.zoom_outbox;
  connection public.user_integrations_zoom;
  session public.video_sessions;
  meeting video_sessions_private.zoom_meetings;
  desired jsonb;
  tasks jsonb := '[]';
  claimed integer := 0;
  put_off_for text;
  put_off_until timestamptz;
  turn integer;
  turns jsonb := '{}';
  put_off bigint[] := '{}';
  codes text[] := '{}';
  untils timestamptz[] := '{}';
  busy boolean := false;
  waiting bigint;
begin
  if edge_outbox_claim.only_user is null then
    candidates := array(
      select id from video_sessions_private.zoom_outbox
      where dead_at is null and greatest(next_attempt_at, claimed_until) <= now()
      order by greatest(next_attempt_at, claimed_until)
      limit 50
    );
  else
    candidates := array(
      select id from video_sessions_private.zoom_outbox
      where user_id = edge_outbox_claim.only_user and dead_at is null
        and (claimed_until is null or claimed_until <= now())
        and (
          next_attempt_at <= now() or last_code = 'turn'
          or edge_outbox_claim.scope = 'everything' and claimed_by is distinct from edge_outbox_claim.holder
        )
      order by next_attempt_at
      limit 50
    );
  end if;
  foreach candidate in array candidates loop
    exit when claimed >= edge_outbox_claim.max_rows;
    select * into task from video_sessions_private.zoom_outbox where id = candidate;
    select * into connection from public.user_integrations_zoom where user_id = task.user_id;
    put_off_for := null;
    put_off_until := null;
    case
      when connection.status is distinct from 'connected' then
        put_off_for := 'not_connected';
      when task.zoom_user_id <> connection.zoom_user_id then
        put_off_for := 'other_account';
      when connection.cooldown_until > now() then
        put_off_for := 'cooling_down';
        put_off_until := connection.cooldown_until;
      when connection.daily_limit_until > now() and task.kind = 'update' then
        put_off_for := 'daily_limit';
        put_off_until := connection.daily_limit_until;
      else
        -- One claim at a time counts for a Zoom account. What was claimed more than a minute ago is not being sent any
        -- more: whoever claimed it has died, or gives it back.
        if not pg_try_advisory_xact_lock(hashtextextended('zoom_account ' || connection.zoom_account_id, 0))
          or max_at_once <= (
            select count(*) from video_sessions_private.zoom_outbox
            where claimed_account = connection.zoom_account_id and claimed_until > now()
              and claimed_at > now() - interval '1 minute'
          )
        then
          busy := true;
          continue when edge_outbox_claim.only_user is not null;
          -- Four a second are as many as the smallest of Zoom's accounts takes.
          put_off_for := 'turn';
          turn := coalesce((turns ->> task.user_id::text)::integer, 0) + 1;
          turns := turns || jsonb_build_object(task.user_id, turn);
          put_off_until := turn * interval '250 milliseconds' + greatest(now(), (
            select max(next_attempt_at) from video_sessions_private.zoom_outbox
            where user_id = task.user_id and last_code = 'turn'
          ));
        end if;
    end case;
    -- As it was looked at, and nobody else's.
    select * into task from video_sessions_private.zoom_outbox
    where id = candidate and kind = task.kind and dead_at is null
      and (claimed_until is null or claimed_until <= now())
      and (next_attempt_at <= now() or edge_outbox_claim.only_user is not null)
    for update skip locked;
    continue when not found;
    if put_off_for is not null then
      put_off := put_off || task.id;
      codes := codes || put_off_for;
      untils := untils || coalesce(
        put_off_until, now() + least(interval '6 hours', greatest(interval '1 minute', (now() - task.created_at) / 2))
      );
      continue;
    end if;

    desired := null;
    if task.kind = 'update' then
      select * into session from public.video_sessions where id = task.session_id;
      select * into meeting from video_sessions_private.zoom_meetings where session_id = task.session_id;
      -- What Zoom may hold of an earlier try is sent again, as it should be now; nothing else of what has not changed.
      select video_sessions_private.untold(session, meeting) || coalesce(jsonb_object_agg(detail, case detail
        when 'timezone' then to_jsonb(video_sessions_private.zoom_zone(session.timezone))
        else to_jsonb(session) -> detail
      end), '{}') into desired
      from jsonb_object_keys(task.claimed_desired) as detail;
      desired := jsonb_strip_nulls(desired);
      if session.id is null or session.status <> 'scheduled' or desired = '{}' then
        -- Changed back before anything was sent, or overtaken by what happened in Zoom: there is nothing to tell.
        delete from video_sessions_private.zoom_outbox where id = task.id;
        continue;
      end if;
    end if;
    update video_sessions_private.zoom_outbox set
      claimed_by = edge_outbox_claim.holder, claimed_at = now(), claimed_until = now() + interval '5 minutes',
      claimed_account = connection.zoom_account_id, claimed_revision = revision, claimed_desired = desired,
      last_code = nullif(last_code, 'turn')
    where id = task.id;
    claimed := claimed + 1;
    tasks := tasks || jsonb_strip_nulls(jsonb_build_object(
      'task_id', task.id, 'user_id', task.user_id, 'meeting_id', task.meeting_id, 'kind', task.kind,
      'running', task.kind <> 'end' and video_sessions_private.is_running(task.session_id),
      'may_end', video_sessions_private.may_end(task.user_id),
      'session_id', task.session_id, 'desired', desired, 'token', video_sessions_private.peek_token(task.user_id)
    ));
  end loop;
  update video_sessions_private.zoom_outbox set last_code = given.code, next_attempt_at = given.until
  from unnest(put_off, codes, untils) as given (id, code, until)
  where zoom_outbox.id = given.id;
  if edge_outbox_claim.only_user is not null then
    busy := busy or exists (
      select from video_sessions_private.zoom_outbox
      where user_id = edge_outbox_claim.only_user and dead_at is null and claimed_until > now()
        and claimed_by is distinct from edge_outbox_claim.holder
    );
    waiting := (
      select count(*) from video_sessions_private.zoom_outbox where user_id = edge_outbox_claim.only_user
    ) + (
      select count(*) from video_sessions_private.session_creations
      where user_id = edge_outbox_claim.only_user and state in ('running', 'unknown')
    );
  end if;
  return jsonb_build_object(
    'tasks', tasks, 'busy', busy, 'waiting', coalesce(waiting, 0),
    'next_due_in_ms', (
      select ceil(extract(epoch from min(greatest(next_attempt_at, claimed_until)) - now()) * 1000)::bigint
      from video_sessions_private.zoom_outbox
      where dead_at is null and greatest(next_attempt_at, claimed_until) > now()
    ),
    'more', claimed >= edge_outbox_claim.max_rows or cardinality(candidates) >= max_looked_at
  );
end
$$;

-- What became of claimed changes, many at once: `{task_id, result, code?, retry_after_seconds?}` with the result
-- `done`; `gone`, the meeting does not exist any more; `wait`, for what `code` says, which is no try; `failed`, a try
-- in vain; `unsent`, it was not begun. Gives an outcome for each, in order.
--
-- Only one lock is waited for: who changes many sessions at once takes their locks in an order of their own. What is
-- `locked` in a batch has to be settled again, at last alone.
create function public.edge_outbox_settle(holder uuid, results jsonb) returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  result record;
  outcomes jsonb := '[]';
begin
  for result in
    select * from jsonb_to_recordset(edge_outbox_settle.results)
      as given (task_id bigint, result text, code text, retry_after_seconds bigint)
  loop
    outcomes := outcomes || to_jsonb(video_sessions_private.settle_change(
      result.task_id, edge_outbox_settle.holder, result.result, result.code, result.retry_after_seconds,
      case when jsonb_array_length(edge_outbox_settle.results) = 1 then 'wait' else 'skip' end
    ));
  end loop;
  return jsonb_build_object('outcomes', outcomes);
end
$$;

create function video_sessions_private.settle_change(task_id bigint, holder uuid, result text, code text,
retry_after_seconds bigint, if_locked text) returns text
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  max_attempts constant integer := 12;
  task video_sessions_private.zoom_outbox;
  session public.video_sessions;
  meeting video_sessions_private.zoom_meetings;
  result text := settle_change.result;
  code text := settle_change.code;
  new_start timestamptz;
  wait interval;
begin
  select * into task from video_sessions_private.zoom_outbox where id = settle_change.task_id;
  if if_locked = 'wait' then
    select * into session from public.video_sessions where id = task.session_id for no key update;
    select * into task from video_sessions_private.zoom_outbox where id = settle_change.task_id for update;
  else
    select * into session from public.video_sessions where id = task.session_id for no key update skip locked;
    if not found and exists (select from public.video_sessions where id = task.session_id) then
      return 'locked';
    end if;
    select * into task from video_sessions_private.zoom_outbox where id = settle_change.task_id for update skip locked;
    if not found and exists (select from video_sessions_private.zoom_outbox where id = settle_change.task_id) then
      return 'locked';
    end if;
  end if;
  if task.id is null or task.claimed_by is distinct from settle_change.holder or task.claimed_until is null then
    return 'superseded';
  end if;
  if result = 'unsent' then
    update video_sessions_private.zoom_outbox set claimed_by = null, claimed_until = null where id = task.id;
    return 'unsent';
  end if;
  if result in ('done', 'gone') and code = 'meeting_gone' and (task.zoom_user_id is null or exists (
    select from public.user_integrations_zoom
    where user_id = task.user_id and zoom_user_id <> task.zoom_user_id
  )) then
    -- Another Zoom user was connected while this was sent: that one knows nothing of the meeting. Or nobody knows which
    -- Zoom user made it, since the session was taken over.
    result := 'wait';
    code := 'other_account';
  end if;

  if result = 'gone' then
    perform video_sessions_private.meeting_is_gone(task.session_id, now(), 'answer');
    return 'gone';
  end if;

  if result = 'done' then
    if task.claimed_desired is null then
      -- A session that is still there, unless this was one meeting too many.
      if session.provider_meeting_id = task.meeting_id and task.kind = 'delete' then
        update video_sessions_private.zoom_meetings set deleted_at = coalesce(deleted_at, now())
        where session_id = session.id;
        delete from public.video_session_host_meta where session_id = session.id;
      end if;
    else
      -- What Zoom told meanwhile may be newer: it stays. What it tells from now on of an earlier time may be older. A
      -- start that has passed may have been ignored.
      new_start := (task.claimed_desired ->> 'scheduled_start')::timestamptz;
      update video_sessions_private.zoom_meetings set
        description = coalesce(task.claimed_desired ->> 'description', description),
        title = case when title_at > task.claimed_at then title
          else coalesce(task.claimed_desired ->> 'title', title) end,
        title_at = case when title_at > task.claimed_at or not task.claimed_desired ? 'title'
          then title_at else now() end,
        scheduled_start = case when scheduled_start_at > task.claimed_at or new_start < now() then scheduled_start
          else coalesce(new_start, scheduled_start) end,
        scheduled_start_at = case when scheduled_start_at > task.claimed_at or new_start is null then scheduled_start_at
          else now() end,
        timezone = case when timezone_at > task.claimed_at then timezone
          else coalesce(task.claimed_desired ->> 'timezone', timezone) end,
        timezone_at = case when timezone_at > task.claimed_at or not task.claimed_desired ? 'timezone'
          then timezone_at else now() end,
        duration_minutes = case when duration_minutes_at > task.claimed_at then duration_minutes
          else coalesce((task.claimed_desired ->> 'duration_minutes')::integer, duration_minutes) end,
        duration_minutes_at = case
          when duration_minutes_at > task.claimed_at or not task.claimed_desired ? 'duration_minutes'
            then duration_minutes_at
          else now()
        end,
        -- A session that was taken over: now it is known whose meeting it is.
        zoom_user_id = coalesce(
          zoom_user_id, (select zoom_user_id from public.user_integrations_zoom where user_id = task.user_id)
        )
      where session_id = task.session_id
      returning * into meeting;
    end if;
    if task.revision = task.claimed_revision
      and (
        task.kind <> 'update' or session.status is distinct from 'scheduled'
        or not video_sessions_private.differs(session, meeting)
      )
    then
      delete from video_sessions_private.zoom_outbox where id = task.id;
    elsif task.revision = task.claimed_revision then
      -- Zoom has taken it, and yet an event says otherwise: that is sent again, but not at once, and not for ever.
      update video_sessions_private.zoom_outbox set
        claimed_until = null, claimed_desired = null, attempts = attempts + 1,
        dead_at = case when attempts + 1 >= max_attempts then now() end,
        next_attempt_at = now() + least(interval '1 hour', interval '15 seconds' * power(2, least(task.attempts, 10)))
      where id = task.id;
    else
      -- Changed again while this was sent.
      update video_sessions_private.zoom_outbox set
        claimed_until = null, claimed_desired = null, attempts = 0, last_code = null, next_attempt_at = now()
      where id = task.id;
    end if;
    return 'done';
  end if;

  wait := case
    when settle_change.retry_after_seconds is not null
      then make_interval(secs => least(settle_change.retry_after_seconds, 90000)) + random() * interval '5 seconds'
    -- 15 s, 30 s, … up to an hour, and somewhere between half of that and all of it.
    else least(interval '1 hour', interval '15 seconds' * power(2, least(task.attempts, 10))) * (0.5 + random() / 2)
  end;
  update video_sessions_private.zoom_outbox set
    claimed_until = null, last_code = code,
    attempts = attempts + case when result = 'failed' then 1 else 0 end,
    dead_at = case when result = 'failed' and attempts + 1 >= max_attempts then now() end,
    next_attempt_at = now() + wait
  where id = task.id;
  if code = 'daily_limit' then
    -- The limit is the host's: trying other changes now would only be refused as well. Deletions are not counted.
    update public.user_integrations_zoom set daily_limit_until = now() + wait
    where user_id = (
      select user_id from public.user_integrations_zoom where user_id = task.user_id for no key update skip locked
    );
  end if;
  return 'postponed';
end
$$;

-- For an operator: changes that were given up, and another try for one of them or (null) for all.
create function public.edge_outbox_dead_letters() returns jsonb
language sql stable security definer set search_path = ''
as $$
  select coalesce(jsonb_agg(jsonb_build_object(
    'task_id', id, 'session_id', session_id, 'user_id', user_id, 'meeting_id', meeting_id, 'kind', kind,
    'attempts', attempts, 'last_code', last_code, 'dead_at', dead_at, 'created_at', created_at
  ) order by dead_at), '[]')
  from (
    select * from video_sessions_private.zoom_outbox where dead_at is not null order by dead_at limit 1000
  ) as dead
$$;

create function public.edge_outbox_retry(task_id bigint default null) returns jsonb
language sql security definer set search_path = ''
as $$
  with retried as (
    update video_sessions_private.zoom_outbox set dead_at = null, attempts = 0, next_attempt_at = now()
    where dead_at is not null and id = any (
      case when edge_outbox_retry.task_id is not null then array[edge_outbox_retry.task_id]
      else array(select id from video_sessions_private.zoom_outbox where dead_at is not null) end
    )
    returning 1
  )
  select jsonb_build_object('retried', count(*)) from retried
$$;

-- 075_life.sql

-- A session lives as long as its meeting does. A Zoom meeting is started and ended any number of times; what is known
-- of that is kept as facts, in whatever order it comes. A session's status, start and end follow from the facts, the
-- plan and the clock: `state_of` says how, and nothing else does.

-- Each time that a meeting was held.
create table video_sessions_private.meeting_instances (
  session_id uuid not null references public.video_sessions (id) on delete cascade,
  uuid text not null,
  started_at timestamptz,
  ended_at timestamptz,
  seen_at timestamptz,
  asked_end timestamptz,
  primary key (session_id, uuid)
);
comment on column video_sessions_private.meeting_instances.started_at is
  'When Zoom says that it began, or when it was first seen to go on.';
comment on column video_sessions_private.meeting_instances.ended_at is 'When Zoom''s event says that it ended.';
comment on column video_sessions_private.meeting_instances.seen_at is
  'When it was last known to go on. Null: its start was told so late that it may be over; Zoom has to be asked.';
comment on column video_sessions_private.meeting_instances.asked_end is
  'When Zoom was first asked and it did not go on any more.';

-- What people did with a session, and when the clock may change it.
create table video_sessions_private.session_life (
  session_id uuid primary key references public.video_sessions (id) on delete cascade,
  closed_as text check (closed_as in ('ended', 'cancelled')),
  closed_at timestamptz,
  next_at timestamptz,
  check ((closed_as is null) = (closed_at is null))
);
create index session_life_next_at_idx on video_sessions_private.session_life (next_at) where next_at is not null;
comment on column video_sessions_private.session_life.closed_as is 'What a person made of the session, for good.';
comment on column video_sessions_private.session_life.next_at is
  'When time alone may change the session next: zoom-sync looks at it then.';

create type video_sessions_private.session_state as (
  status text, started_at timestamptz, ended_at timestamptz, next_at timestamptz
);

-- The state of a session at a time. The first rule that fits counts.
create function video_sessions_private.state_of(session public.video_sessions, at timestamptz)
returns video_sessions_private.session_state
language plpgsql stable security definer set search_path = ''
as $$
declare
  planned_start constant timestamptz := session.scheduled_start;
  planned_end constant timestamptz := session.scheduled_start + make_interval(mins => session.duration_minutes);
  -- Nothing that belongs to this session goes on for longer.
  last_chance constant timestamptz := planned_end + interval '24 hours';
  closed_as text;
  closed_at timestamptz;
  gone_at timestamptz;
  heard_at timestamptz;
  first_start timestamptz;
  last_end timestamptz;
  last_end_is_told boolean;
  runs boolean;
  over_at timestamptz;
begin
  select life.closed_as, life.closed_at into closed_as, closed_at
  from video_sessions_private.session_life life where life.session_id = session.id;

  if session.provider = 'external' then
    first_start := case when least(at, closed_at) >= planned_start then planned_start end;
    return case
      when closed_as is not null then (
        closed_as, first_start, case when closed_as = 'ended' or first_start is not null then closed_at end, null
      )::video_sessions_private.session_state
      when at < planned_start then ('scheduled', null, null, planned_start)::video_sessions_private.session_state
      when at < planned_end then ('scheduled', first_start, null, planned_end)::video_sessions_private.session_state
      else ('ended', first_start, planned_end, null)::video_sessions_private.session_state
    end;
  end if;

  select meeting.deleted_at, meeting.heard_at into gone_at, heard_at
  from video_sessions_private.zoom_meetings meeting where meeting.session_id = session.id;
  with told as (
    select coalesce(i.started_at, i.ended_at, i.asked_end) as began, i.ended_at, i.asked_end, i.seen_at,
      -- A next start ends what came before it.
      lead(coalesce(i.started_at, i.ended_at, i.asked_end))
        over (order by coalesce(i.started_at, i.ended_at, i.asked_end), i.ended_at nulls last, i.uuid) as next_start
    from video_sessions_private.meeting_instances i
    where i.session_id = session.id
      -- What begins after a person has closed the session does not belong to it.
      and (closed_at is null or coalesce(i.started_at, i.ended_at, i.asked_end) <= closed_at)
  ), known as (
    select began, seen_at, ended_at is not null as is_told,
      ended_at is null and coalesce(asked_end, next_start) is not null as is_inferred,
      coalesce(ended_at, asked_end, next_start, case
        when seen_at is null then null
        when coalesce(closed_at, gone_at) is not null then greatest(seen_at, coalesce(closed_at, gone_at))
        when at >= last_chance then seen_at
      end) as ended
    from told
  ), instances as (
    select *,
      coalesce(
        -- An end that nobody told may be much later than the true one: only what began about then was held.
        case
          when is_inferred then ended >= planned_start and began >= planned_start - interval '2 hours'
          else ended >= planned_start
            or ended - began >= interval '10 minutes' and began >= planned_start - interval '2 hours'
        end,
        false
      ) as is_held
    from known
  )
  select min(began) filter (where is_held or ended is null), max(ended) filter (where is_held),
    (array_agg(is_told order by ended desc) filter (where is_held))[1], coalesce(bool_or(ended is null), false)
  into first_start, last_end, last_end_is_told, runs
  from instances where ended is not null or seen_at is not null;

  -- 1. A person cancelled or ended it.
  if closed_as is not null then
    return (
      closed_as, first_start, case when closed_as = 'ended' then coalesce(last_end, closed_at) else last_end end, null
    )::video_sessions_private.session_state;
  end if;
  -- 2. Its meeting is gone at Zoom.
  if gone_at is not null then
    return (
      case when last_end is null then 'cancelled' else 'ended' end, first_start, last_end, null
    )::video_sessions_private.session_state;
  end if;
  -- 3. It goes on.
  if runs then
    return ('scheduled', first_start, null, last_chance)::video_sessions_private.session_state;
  end if;
  -- 4. It was held: it may be interrupted. 5. It was never held: it may be late.
  over_at := case
    when last_end is null then planned_end + interval '60 minutes'
    else greatest(planned_end, last_end) + case when last_end_is_told then interval '15 minutes' else interval '0' end
  end;
  if at < over_at then
    return ('scheduled', first_start, last_end, over_at)::video_sessions_private.session_state;
  end if;
  -- The clock alone does not know what has happened: somebody must have heard of Zoom since then.
  if at < last_chance and (heard_at is null or heard_at < planned_end) then
    return ('scheduled', first_start, last_end, last_chance)::video_sessions_private.session_state;
  end if;
  return ('ended', first_start, coalesce(last_end, planned_end), null)::video_sessions_private.session_state;
end
$$;

-- Keeps what a person makes of a session, and writes its state into it: whoever changes it, and whatever they change.
create function video_sessions_private.settle_session() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  state video_sessions_private.session_state;
begin
  if new.status is null then
    raise exception using errcode = '23502', message = 'status must not be null.';
  end if;
  if tg_op = 'UPDATE' and new.status <> old.status then
    insert into video_sessions_private.session_life as life (session_id, closed_as, closed_at)
    values (new.id, nullif(new.status, 'scheduled'), case when new.status <> 'scheduled' then now() end)
    on conflict (session_id) do update set closed_as = excluded.closed_as, closed_at = excluded.closed_at;
  end if;
  state := video_sessions_private.state_of(new, now());
  new.status := state.status;
  new.started_at := state.started_at;
  new.ended_at := state.ended_at;
  if tg_op = 'UPDATE' then
    update video_sessions_private.session_life life set next_at = state.next_at
    where session_id = new.id and life.next_at is distinct from state.next_at;
  end if;
  return new;
end
$$;
-- After check_session, by its name.
create trigger settle_session before insert or update on public.video_sessions
for each row execute function video_sessions_private.settle_session();

create function video_sessions_private.begin_life() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  insert into video_sessions_private.session_life (session_id, next_at)
  values (new.id, (video_sessions_private.state_of(new, now())).next_at);
  return null;
end
$$;
create trigger begin_life after insert on public.video_sessions
for each row execute function video_sessions_private.begin_life();

-- A session that is over keeps no start URL, and nothing of it is told to Zoom any more but its end. After
-- tell_zoom_of_change, by its name: an update that became a deletion stays.
create function video_sessions_private.wind_up() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  delete from public.video_session_host_meta where session_id = new.id;
  delete from video_sessions_private.zoom_outbox where session_id = new.id and kind = 'update';
  return null;
end
$$;
create trigger wind_up after update on public.video_sessions
for each row when (old.status = 'scheduled' and new.status <> 'scheduled')
execute function video_sessions_private.wind_up();

-- Brings a session's state up to date after its facts have changed, or time has passed.
create function video_sessions_private.settle(target uuid) returns void
language plpgsql security definer set search_path = ''
as $$
declare
  session public.video_sessions;
  state video_sessions_private.session_state;
begin
  select * into session from public.video_sessions where id = target for no key update;
  if not found then
    return;
  end if;
  state := video_sessions_private.state_of(session, now());
  if (state.status, state.started_at, state.ended_at)
    is distinct from (session.status, session.started_at, session.ended_at)
  then
    -- The trigger writes the state.
    update public.video_sessions set updated_at = now() where id = target;
  else
    update video_sessions_private.session_life life set next_at = state.next_at
    where session_id = target and life.next_at is distinct from state.next_at;
  end if;
end
$$;

-- Whether a meeting goes on, as far as is known.
create function video_sessions_private.is_running(target uuid) returns boolean
language sql stable security definer set search_path = ''
as $$
  select coalesce((
    select ended_at is null and asked_end is null and seen_at is not null
    from video_sessions_private.meeting_instances where session_id = target
    order by coalesce(started_at, ended_at, asked_end) desc, ended_at desc nulls first, uuid desc limit 1
  ), false)
$$;

-- Whether only the clock has ended a session: it can still be moved, and for a day started.
create function video_sessions_private.only_the_clock_ended(target uuid) returns boolean
language sql stable security definer set search_path = ''
as $$
  select exists (
    select from public.video_sessions session
    join video_sessions_private.session_life life on life.session_id = session.id
    left join video_sessions_private.zoom_meetings meeting on meeting.session_id = session.id
    where session.id = target and session.status = 'ended' and life.closed_as is null and meeting.deleted_at is null
  )
$$;

-- Whether the host may start a session now.
create function video_sessions_private.is_startable(session public.video_sessions) returns boolean
language sql stable security definer set search_path = ''
as $$
  select session.status = 'scheduled' or (
    now() < session.scheduled_start + make_interval(mins => session.duration_minutes) + interval '24 hours'
    and video_sessions_private.only_the_clock_ended(session.id)
  )
$$;

-- Adds what is known of an instance: the earliest start, the latest end, the last time that it was seen to go on.
create function video_sessions_private.note_instance(
  target uuid, instance text, began timestamptz, ended timestamptz, seen timestamptz
) returns void
language sql security definer set search_path = ''
as $$
  insert into video_sessions_private.meeting_instances as known (session_id, uuid, started_at, ended_at, seen_at)
  values (target, instance, began, ended, seen)
  on conflict (session_id, uuid) do update set
    started_at = least(known.started_at, excluded.started_at),
    ended_at = greatest(known.ended_at, excluded.ended_at),
    seen_at = greatest(known.seen_at, excluded.seen_at),
    asked_end = case when known.asked_end >= excluded.seen_at is not false then known.asked_end end
$$;

-- What an answer of Zoom's said about a meeting: whether it goes on, and the uuid of the instance that does, or of the
-- next one. `asked_at`: when Zoom was asked. Answers may come in any order.
create function video_sessions_private.meeting_was_asked(target uuid, instance text, goes_on boolean,
asked_at timestamptz) returns void
language plpgsql security definer set search_path = ''
as $$
declare
  meeting video_sessions_private.zoom_meetings;
begin
  perform from public.video_sessions where id = target for no key update;
  select * into meeting from video_sessions_private.zoom_meetings where session_id = target for update;
  if not found then
    return;
  end if;
  if goes_on then
    perform video_sessions_private.note_instance(
      target, coalesce(instance, 'at ' || asked_at), asked_at, null, asked_at
    );
  else
    if meeting.uuid <> instance and meeting.uuid_at < asked_at then
      -- It was held meanwhile, though nobody told.
      perform video_sessions_private.note_instance(target, meeting.uuid, null, null, null);
    end if;
    update video_sessions_private.meeting_instances set asked_end = least(asked_end, meeting_was_asked.asked_at)
    where session_id = target and ended_at is null
      and coalesce(seen_at, started_at, '-infinity') <= meeting_was_asked.asked_at;
  end if;
  update video_sessions_private.zoom_meetings set
    heard_at = greatest(heard_at, meeting_was_asked.asked_at),
    uuid = case when uuid_at < meeting_was_asked.asked_at then coalesce(instance, uuid) else uuid end,
    uuid_at = greatest(uuid_at, meeting_was_asked.asked_at)
  where session_id = target;
  perform video_sessions_private.settle(target);
end
$$;

-- zoom-sync: what time alone changes in sessions, the longest due first. `more`: another call finds more.
create function public.edge_sessions_settle(max_rows integer) returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  due constant uuid[] := array(
    select session_id from video_sessions_private.session_life where next_at <= now() order by next_at limit max_rows
  );
  target uuid;
begin
  foreach target in array due loop
    perform from public.video_sessions where id = target for no key update skip locked;
    if found then
      perform video_sessions_private.settle(target);
    end if;
  end loop;
  return jsonb_build_object('settled', cardinality(due), 'more', cardinality(due) >= max_rows);
end
$$;

-- 080_creations.sql

-- Creating a session: the idempotency ledger, the meeting, the session; and what becomes of a creation whose answer was
-- lost.

-- The idempotency ledger: one row for every creation of a Zoom session. Its id becomes the session's, and stands at the
-- start of the meeting's agenda, so that a meeting whose answer was lost can be found.
create table video_sessions_private.session_creations (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null,
  zoom_user_id text,
  idempotency_key text,
  request_hash text not null,
  request jsonb,
  state text not null default 'running' check (state in ('running', 'unknown', 'done', 'failed')),
  -- Why nothing came of it, or why nobody knows: what kept Zoom from it; what zoom-sync found; what happened meanwhile.
  code text check (code in (
    'not_connected', 'daily_limit', 'rate_limit', 'no_token', 'misconfigured', 'unclear', 'refused', 'cannot_host',
    'internal', 'no_meeting', 'too_late', 'meeting_gone', 'account_deleted', 'unreachable'
  )),
  checks integer not null default 0,
  next_check_at timestamptz not null,
  put_off boolean not null default false,
  created_at timestamptz not null default now(),
  closed_at timestamptz,
  -- What was asked for is kept as long as it may still be needed, and no longer.
  check ((state in ('running', 'unknown')) = (request is not null)),
  check ((state in ('done', 'failed')) = (closed_at is not null))
);

-- A key is free again when nothing came of its creation.
create unique index session_creations_key_idx on video_sessions_private.session_creations (user_id, idempotency_key)
  where idempotency_key is not null and state <> 'failed';
create index session_creations_user_id_idx on video_sessions_private.session_creations (user_id);
create index session_creations_open_idx on video_sessions_private.session_creations (next_check_at)
where state in ('running', 'unknown');
create index session_creations_closed_idx on video_sessions_private.session_creations (closed_at)
where closed_at is not null;
comment on column video_sessions_private.session_creations.zoom_user_id is
  'Who was connected: in whose meetings zoom-sync looks.';
comment on column video_sessions_private.session_creations.state is
  'running: Zoom is being asked; unknown: its answer was lost; done: the session exists; failed: nothing came of it.';
comment on column video_sessions_private.session_creations.put_off is
  'Its host is not connected as the Zoom user who was asked: looked at again when they are (connection_is_back).';
comment on column video_sessions_private.session_creations.checks is 'How often zoom-sync has looked for the meeting.';

-- What a repeated request with the same key hears.
create function video_sessions_private.creation_so_far(known video_sessions_private.session_creations,
request_hash text) returns jsonb
language sql stable security definer set search_path = ''
as $$
  select case
    when known.request_hash is distinct from creation_so_far.request_hash and known.id is not null
      then '{"outcome": "key_reused"}'
    when known.state = 'done' then coalesce(
      (
        select jsonb_build_object('outcome', 'created', 'session', video_sessions_private.session_with_code(v))
        from public.video_sessions v where v.id = known.id
      ),
      '{"outcome": "deleted"}'
    )
    when known.state = 'unknown' then '{"outcome": "running", "retry_after_seconds": 30}'
    else '{"outcome": "running", "retry_after_seconds": 2}'::jsonb
  end
$$;

-- Whether nobody is seeing to a creation any more, and it may have a meeting. One that was begun a moment ago is still
-- with the request that began it, which says itself what becomes of it.
create function video_sessions_private.is_unclear(creation video_sessions_private.session_creations) returns boolean
language sql stable set search_path = ''
as $$
  select creation.state = 'unknown'
    or creation.state = 'running' and (creation.checks > 0 or creation.next_check_at <= now())
$$;

-- Writes the session with its guests and closes its creation. `meeting` is Zoom's, null for an external session.
create function video_sessions_private.insert_session(creation_id uuid, host uuid, request jsonb,
meeting jsonb) returns public.video_sessions
language plpgsql security definer set search_path = ''
as $$
declare
  session public.video_sessions;
begin
  insert into public.video_sessions (
    id, host_id, provider, title, description, scheduled_start, timezone, duration_minutes, max_participants,
    join_url, provider_meeting_id, passcode, settings
  ) values (
    creation_id, host, request ->> 'provider', request ->> 'title', request ->> 'description',
    (request ->> 'scheduled_start')::timestamptz, request ->> 'timezone', (request ->> 'duration_minutes')::integer,
    (request ->> 'max_participants')::integer,
    coalesce(meeting ->> 'join_url', request ->> 'join_url'), meeting ->> 'id', meeting ->> 'passcode',
    coalesce(meeting -> 'settings', '{}')
  )
  returning * into session;
  insert into public.video_session_participants (session_id, user_id)
  select creation_id, id from auth.users
  where id = any (array(select value::uuid from jsonb_array_elements_text(request -> 'participant_ids')));
  update video_sessions_private.session_creations set state = 'done', request = null, closed_at = now()
  where id = creation_id;
  return session;
end
$$;

-- A request that is repeated with its key gets the session that it has made, though its start is past by then: only a
-- session that is yet to be made must not start in the past, so that is looked at after the key.

-- create-session, first: claims a row of the ledger and a token. An external session is created at once.
create function public.edge_session_begin(
  user_id uuid, holder uuid, idempotency_key text, request_hash text, session jsonb
) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  host constant uuid := edge_session_begin.user_id;
  external constant boolean := edge_session_begin.session ->> 'provider' = 'external';
  guests constant uuid[] :=
    array(select value::uuid from jsonb_array_elements_text(edge_session_begin.session -> 'participant_ids'));
  known video_sessions_private.session_creations;
  created public.video_sessions;
  fields jsonb := '{}';
  refusal jsonb;
  token jsonb;
  new_id uuid;
begin
  if edge_session_begin.idempotency_key is not null then
    select * into known from video_sessions_private.session_creations
    where user_id = host and idempotency_key = edge_session_begin.idempotency_key and state <> 'failed';
    if found then
      return video_sessions_private.creation_so_far(known, edge_session_begin.request_hash);
    end if;
  end if;
  if not video_sessions_private.may_host(host) then
    return '{"outcome": "not_a_host"}';
  end if;
  if not video_sessions_private.is_time_zone(edge_session_begin.session ->> 'timezone') then
    fields := fields || '{"timezone": "must be the name of a time zone, such as Europe/Berlin"}';
  end if;
  -- The functions allow the same five minutes, and say the same, where no key is given.
  if (edge_session_begin.session ->> 'scheduled_start')::timestamptz < now() - interval '5 minutes' then
    fields := fields || '{"scheduled_start": "must not be in the past"}';
  end if;
  if not video_sessions_private.is_title(edge_session_begin.session ->> 'title') then
    fields := fields || jsonb_build_object('title', video_sessions_private.title_rule());
  end if;
  if external and not video_sessions_private.is_join_url(edge_session_begin.session ->> 'join_url') then
    fields := fields || jsonb_build_object('join_url', video_sessions_private.join_url_rule());
  end if;
  if host = any (guests) then
    fields := fields || '{"participant_ids": "must not name the host, who takes part anyway"}';
  elsif (select count(*) from auth.users where id = any (guests)) < cardinality(guests) then
    fields := fields || '{"participant_ids": "name somebody who does not exist"}';
  end if;
  if fields <> '{}' then
    return jsonb_build_object('outcome', 'invalid', 'fields', fields);
  end if;

  if not external then
    token := video_sessions_private.claim_token(host, edge_session_begin.holder, 60, null);
    if token ->> 'state' in ('not_connected', 'expired', 'cooling_down') then
      return jsonb_build_object('outcome', 'no_token', 'token', token);
    end if;
  end if;
  refusal := coalesce(
    video_sessions_private.check_sessions_to_come(host, 1),
    video_sessions_private.use_quota('creations_an_hour', host)
  );
  if refusal is not null then
    perform video_sessions_private.give_back_lease(host, edge_session_begin.holder);
    return refusal;
  end if;

  insert into video_sessions_private.session_creations (user_id, zoom_user_id, idempotency_key, request_hash, request,
  next_check_at)
  -- Zoom is asked within a minute, and has a quarter of one to answer; what is open after two was abandoned.
  values (
    host, case when not external then (select zoom_user_id from public.user_integrations_zoom where user_id = host) end,
    edge_session_begin.idempotency_key, edge_session_begin.request_hash, edge_session_begin.session,
    now() + interval '2 minutes'
  )
  on conflict (user_id, idempotency_key) where idempotency_key is not null and state <> 'failed' do nothing
  returning id into new_id;
  if new_id is null then
    -- Somebody else with the same key was a moment faster. A lease that was taken above goes back.
    perform video_sessions_private.give_back_lease(host, edge_session_begin.holder);
    select * into known from video_sessions_private.session_creations
    where user_id = host and idempotency_key = edge_session_begin.idempotency_key and state <> 'failed';
    return video_sessions_private.creation_so_far(known, edge_session_begin.request_hash);
  end if;
  if external then
    created := video_sessions_private.insert_session(new_id, host, edge_session_begin.session, null);
    return jsonb_build_object('outcome', 'created', 'session', video_sessions_private.session_with_code(created));
  end if;
  return jsonb_build_object(
    'outcome', 'create', 'creation_id', new_id, 'token', token,
    'zoom_timezone', video_sessions_private.zoom_zone(edge_session_begin.session ->> 'timezone')
  );
end
$$;

-- create-session, last, and zoom-sync when it has found the meeting: the session, its start URL and its participants at
-- once. May be repeated. `closed`: the creation came to nothing meanwhile, and the meeting belongs to nobody: it will
-- be deleted.
create function public.edge_session_complete(creation_id uuid, user_id uuid, meeting jsonb) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  creation video_sessions_private.session_creations;
  session public.video_sessions;
  event record;
begin
  select * into creation from video_sessions_private.session_creations
  where id = edge_session_complete.creation_id and user_id = edge_session_complete.user_id for update;
  if creation.state = 'done' then
    select * into session from public.video_sessions
    where id = edge_session_complete.creation_id and provider_meeting_id = edge_session_complete.meeting ->> 'id';
    if found then
      return jsonb_build_object('outcome', 'created', 'session', video_sessions_private.session_with_code(session));
    end if;
  end if;
  if creation.state in ('running', 'unknown') and not exists (select from auth.users
  where id = edge_session_complete.user_id) then
    update video_sessions_private.session_creations set
      state = 'failed', request = null, closed_at = now(), code = 'account_deleted'
    where id = creation.id
    returning * into creation;
  end if;
  if creation.id is null then
    return '{"outcome": "closed"}';
  end if;
  if creation.state in ('done', 'failed') then
    perform video_sessions_private.enqueue(
      edge_session_complete.meeting ->> 'id', creation.id, creation.user_id, creation.zoom_user_id, 'delete'
    );
    return '{"outcome": "closed"}';
  end if;

  -- An event of this meeting that comes at this moment is kept before, or finds the session after.
  perform video_sessions_private.lock_meeting(edge_session_complete.meeting ->> 'id');
  session := video_sessions_private.insert_session(creation.id, edge_session_complete.user_id, creation.request,
  edge_session_complete.meeting);
  insert into video_sessions_private.zoom_meetings (
    session_id, zoom_user_id, zoom_account_id, uuid, uuid_at,
    title, description, scheduled_start, timezone, duration_minutes
  ) values (
    session.id, creation.zoom_user_id, (
      select zoom_account_id from public.user_integrations_zoom
      where user_id = creation.user_id and zoom_user_id = creation.zoom_user_id
    ), edge_session_complete.meeting ->> 'uuid', creation.created_at,
    session.title, session.description, session.scheduled_start,
    coalesce(
      edge_session_complete.meeting ->> 'timezone', video_sessions_private.zoom_zone(session.timezone)
    ),
    session.duration_minutes
  );
  perform video_sessions_private.store_start_url(
    session.id, session.host_id, edge_session_complete.meeting ->> 'start_url'
  );
  -- What happened in Zoom before we knew whose meeting it is.
  for event in
    update video_sessions_private.webhook_events set details = null
    from (
      select event_id, details from video_sessions_private.webhook_events
      where meeting_id = session.provider_meeting_id and details is not null
    ) as unmatched
    where webhook_events.event_id = unmatched.event_id
    returning webhook_events.event, webhook_events.event_ts, unmatched.details
  loop
    perform video_sessions_private.apply_meeting_event(session.id, event.event, event.event_ts, event.details);
  end loop;
  select * into session from public.video_sessions where id = session.id;
  return jsonb_build_object('outcome', 'created', 'session', video_sessions_private.session_with_code(session));
end
$$;

-- create-session and zoom-sync: nothing came of it (`failed`), or nobody knows (`unknown`). A meeting that zoom-sync
-- does not find (`no_meeting`) may still be on its way: it is looked for once more before the creation is closed.
create function public.edge_session_fail(creation_id uuid, user_id uuid, result text, code text) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  creation video_sessions_private.session_creations;
begin
  select * into creation from video_sessions_private.session_creations
  where id = edge_session_fail.creation_id and user_id = edge_session_fail.user_id for update;
  if creation.id is null or creation.state in ('done', 'failed') then
    return '{"outcome": "closed"}';
  end if;
  if edge_session_fail.result = 'unknown' then
    update video_sessions_private.session_creations set
      state = 'unknown', code = edge_session_fail.code, next_check_at = now() + interval '30 seconds'
    where id = creation.id;
    return '{"outcome": "open"}';
  end if;
  if edge_session_fail.code = 'no_meeting' and creation.checks < 2 then
    update video_sessions_private.session_creations set next_check_at = now() + interval '90 seconds'
    where id = creation.id;
    return '{"outcome": "open"}';
  end if;
  update video_sessions_private.session_creations set
    state = 'failed', code = edge_session_fail.code, request = null, closed_at = now()
  where id = creation.id;
  if edge_session_fail.code = 'daily_limit' then
    update public.user_integrations_zoom set daily_limit_until = date_trunc('day', now(), 'UTC') + interval '1 day'
    where user_id = creation.user_id;
  end if;
  return '{"outcome": "closed"}';
end
$$;

-- zoom-sync: claims creations whose outcome nobody knows for three minutes. The meeting can only be looked for while
-- its host is connected as the Zoom user who was asked for it: what cannot be is put off, and closed after a week, the
-- meeting being out of reach.
create function public.edge_creations_claim(max_rows integer, only_user uuid default null) returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  candidate uuid;
  creation video_sessions_private.session_creations;
  creations jsonb := '[]';
begin
  foreach candidate in array array(
    select id from video_sessions_private.session_creations
    where edge_creations_claim.only_user is null and state in ('running', 'unknown') and next_check_at <= now()
    order by next_check_at limit 50
  ) || array(
    select id from video_sessions_private.session_creations open_creation
    where user_id = edge_creations_claim.only_user and state in ('running', 'unknown')
      and video_sessions_private.is_unclear(open_creation)
    order by created_at limit 50
  ) loop
    exit when jsonb_array_length(creations) >= edge_creations_claim.max_rows;
    select * into creation from video_sessions_private.session_creations
    where id = candidate and state in ('running', 'unknown')
      and (next_check_at <= now() or edge_creations_claim.only_user is not null)
    for update skip locked;
    continue when not found;
    if creation.created_at < now() - interval '7 days' then
      update video_sessions_private.session_creations set
        state = 'failed', code = 'unreachable', request = null, closed_at = now()
      where id = creation.id;
    elsif exists (
      select from public.user_integrations_zoom
      where user_id = creation.user_id and status = 'connected' and zoom_user_id = creation.zoom_user_id
    ) then
      update video_sessions_private.session_creations set
        checks = checks + 1, next_check_at = now() + interval '3 minutes', put_off = false
      where id = creation.id;
      creations := creations || jsonb_build_object(
        'creation_id', creation.id, 'user_id', creation.user_id, 'request', creation.request,
        'token', video_sessions_private.peek_token(creation.user_id)
      );
    else
      update video_sessions_private.session_creations set
        put_off = true,
        next_check_at = now() + least(interval '6 hours', greatest(interval '1 minute', (now() - created_at) / 2))
      where id = creation.id;
    end if;
  end loop;
  return jsonb_build_object('creations', creations);
end
$$;

-- 085_lists.sql

-- What a user's lists of sessions show: the one definition of upcoming, ongoing and past, for every client.

-- `upcoming`, `ongoing` (it goes on, or is interrupted) or `past` (ended or cancelled). PostgREST can select it:
-- `video_sessions?select=*,phase`.
create function public.phase(session public.video_sessions) returns text
language sql immutable set search_path = ''
as $$
  select case
    when session.status <> 'scheduled' then 'past'
    when session.started_at is null then 'upcoming'
    else 'ongoing'
  end
$$;
comment on function public.phase is 'upcoming, ongoing (running or interrupted) or past.';

-- The Zoom account that a session belongs to, by its email address, for its host alone; null where nobody knows.
-- PostgREST can select it: `video_sessions?select=*,zoom_account`. It looks by the row's id, since callers can make up
-- rows.
create function public.zoom_account(session public.video_sessions) returns text
language sql stable security definer set search_path = ''
as $$
  select known.email
  from public.video_sessions hosted
  join video_sessions_private.zoom_meetings meeting on meeting.session_id = hosted.id
  join video_sessions_private.zoom_accounts known
    on known.user_id = hosted.host_id and known.zoom_user_id = meeting.zoom_user_id
  where hosted.id = session.id and hosted.host_id = auth.uid()
$$;
comment on function public.zoom_account is 'The email address of the Zoom account that the host''s session belongs to.';

create index video_sessions_upcoming_idx on public.video_sessions (host_id, scheduled_start, id)
where status = 'scheduled' and started_at is null;
create index video_sessions_ongoing_idx on public.video_sessions (host_id, scheduled_start, id)
where status = 'scheduled' and started_at is not null;
create index video_sessions_past_idx on public.video_sessions (host_id, scheduled_start, id)
where status <> 'scheduled';

-- One page of the caller's sessions, hosted and taken part in: upcoming and ongoing ones by their start, past ones the
-- newest first. `after_start` and `after_id` are scheduled_start and id of the last session of the page before.
--
-- The limit is inside, so that PostgREST embeds for the page alone. It counts, writes and locks nothing. Each branch
-- reads an index of its own as far as the page goes; the sessions that a user is a guest of are read whole, which are
-- few.
create function public.my_video_sessions(
  phase text, page_size integer default 20, after_start timestamptz default null, after_id uuid default null
) returns setof public.video_sessions
language plpgsql stable security definer set search_path = ''
as $$
declare
  me constant uuid := auth.uid();
  wanted constant integer := least(greatest(page_size, 1), 100);
  last_id constant uuid := coalesce(after_id, case
    when my_video_sessions.phase = 'past' then 'ffffffff-ffff-ffff-ffff-ffffffffffff'
    else '00000000-0000-0000-0000-000000000000'
  end::uuid);
  last_start constant timestamptz := coalesce(after_start, case
    when my_video_sessions.phase = 'past' then 'infinity' else '-infinity'
  end::timestamptz);
begin
  case my_video_sessions.phase
    when 'upcoming' then
      return query
      select page.* from (
        (
          select v.* from public.video_sessions v
          where v.host_id = me and v.status = 'scheduled' and v.started_at is null
            and (v.scheduled_start, v.id) > (last_start, last_id)
          order by v.scheduled_start, v.id limit wanted
        ) union all (
          select v.* from public.video_session_participants p
          join public.video_sessions v on v.id = p.session_id
          where p.user_id = me and p.role = 'participant' and v.status = 'scheduled' and v.started_at is null
            and (v.scheduled_start, v.id) > (last_start, last_id)
          order by v.scheduled_start, v.id limit wanted
        )
      ) as page
      order by page.scheduled_start, page.id limit wanted;
    when 'ongoing' then
      return query
      select page.* from (
        (
          select v.* from public.video_sessions v
          where v.host_id = me and v.status = 'scheduled' and v.started_at is not null
            and (v.scheduled_start, v.id) > (last_start, last_id)
          order by v.scheduled_start, v.id limit wanted
        ) union all (
          select v.* from public.video_session_participants p
          join public.video_sessions v on v.id = p.session_id
          where p.user_id = me and p.role = 'participant' and v.status = 'scheduled' and v.started_at is not null
            and (v.scheduled_start, v.id) > (last_start, last_id)
          order by v.scheduled_start, v.id limit wanted
        )
      ) as page
      order by page.scheduled_start, page.id limit wanted;
    when 'past' then
      return query
      select page.* from (
        (
          select v.* from public.video_sessions v
          where v.host_id = me and v.status <> 'scheduled' and (v.scheduled_start, v.id) < (last_start, last_id)
          order by v.scheduled_start desc, v.id desc limit wanted
        ) union all (
          select v.* from public.video_session_participants p
          join public.video_sessions v on v.id = p.session_id
          where p.user_id = me and p.role = 'participant' and v.status <> 'scheduled'
            and (v.scheduled_start, v.id) < (last_start, last_id)
          order by v.scheduled_start desc, v.id desc limit wanted
        )
      ) as page
      order by page.scheduled_start desc, page.id desc limit wanted;
    else
      raise exception using errcode = 'PT400', message = 'phase must be upcoming, ongoing or past.';
  end case;
end
$$;
comment on function public.my_video_sessions is
  'A page of the caller''s sessions of one phase. after_start and after_id: of the last session of the page before.';

-- 090_start.sql

-- Starting a session: start URLs, which make whoever holds one the host in Zoom.

create table public.video_session_host_meta (
  session_id uuid primary key references public.video_sessions (id) on delete cascade,
  host_id uuid not null references auth.users (id) on delete cascade,
  host_start_url text not null,
  expires_at timestamptz not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index video_session_host_meta_host_id_idx on public.video_session_host_meta (host_id);
create index video_session_host_meta_expires_at_idx on public.video_session_host_meta (expires_at);
comment on table public.video_session_host_meta is
  'Start URLs: whoever holds one is the host in Zoom, for two hours. For the host alone.';
create trigger touch before update on public.video_session_host_meta for each row
execute function video_sessions_private.touch();

-- Start URLs go with the connection, however it ends.
create function video_sessions_private.connection_ended() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  if tg_op = 'DELETE' or new.status <> 'connected' or new.zoom_user_id <> old.zoom_user_id then
    delete from public.video_session_host_meta where host_id = old.user_id;
  end if;
  return null;
end
$$;
create trigger connection_ended after update of status, zoom_user_id or delete on public.user_integrations_zoom
for each row execute function video_sessions_private.connection_ended();

-- Stores a start URL, while the host is connected as the Zoom user that made the meeting: the lock on the connection
-- keeps it from ending meanwhile. It is good for two hours from when Zoom made it, a moment ago. Null: nothing was
-- stored.
create function video_sessions_private.store_start_url(target uuid, host uuid, url text) returns timestamptz
language plpgsql security definer set search_path = ''
as $$
declare
  good_until constant timestamptz := now() + interval '119 minutes';
begin
  perform from public.user_integrations_zoom
  where user_id = host and status = 'connected' and zoom_user_id = coalesce(
    (select zoom_user_id from video_sessions_private.zoom_meetings where session_id = target), zoom_user_id
  )
  for no key update;
  if not found then
    return null;
  end if;
  insert into public.video_session_host_meta (session_id, host_id, host_start_url, expires_at)
  values (target, host, url, good_until)
  on conflict (session_id) do update set host_start_url = excluded.host_start_url, expires_at = excluded.expires_at;
  return good_until;
end
$$;

-- start-session, first: a stored start URL with ten more minutes, or a token to ask Zoom for a fresh one.
create function public.edge_start_begin(user_id uuid, holder uuid, session_id uuid) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  session public.video_sessions;
  stored public.video_session_host_meta;
begin
  select * into session from public.video_sessions where id = edge_start_begin.session_id;
  if session.host_id is distinct from edge_start_begin.user_id then
    return case when exists (
      select from public.video_session_participants
      where session_id = edge_start_begin.session_id and user_id = edge_start_begin.user_id
    ) then '{"outcome": "not_the_host"}' else '{"outcome": "not_found"}'::jsonb end;
  end if;
  if not video_sessions_private.may_host(edge_start_begin.user_id) then
    return '{"outcome": "not_a_host"}';
  end if;
  if not video_sessions_private.is_startable(session) then
    return jsonb_build_object('outcome', case session.status when 'cancelled' then 'gone' else 'ended' end);
  end if;
  if session.provider = 'external' then
    return jsonb_build_object('outcome', 'ready', 'host_start_url', session.join_url, 'expires_at', null);
  end if;
  select * into stored from public.video_session_host_meta
  where session_id = session.id and expires_at > now() + interval '10 minutes';
  if found then
    return jsonb_build_object(
      'outcome', 'ready', 'host_start_url', stored.host_start_url, 'expires_at', stored.expires_at
    );
  end if;
  if exists (
    select from video_sessions_private.zoom_meetings meeting
    join public.user_integrations_zoom connection on connection.user_id = edge_start_begin.user_id
    where meeting.session_id = session.id and connection.status = 'connected'
      and meeting.zoom_user_id <> connection.zoom_user_id
  ) then
    return jsonb_build_object('outcome', 'zoom_other_account', 'zoom_account_email', (
      select known.email
      from video_sessions_private.zoom_meetings meeting
      join video_sessions_private.zoom_accounts known
        on known.user_id = session.host_id and known.zoom_user_id = meeting.zoom_user_id
      where meeting.session_id = session.id
    ));
  end if;
  return jsonb_build_object(
    'outcome', 'fetch', 'meeting_id', session.provider_meeting_id,
    'token', video_sessions_private.claim_token(edge_start_begin.user_id, edge_start_begin.holder, 60, null)
  );
end
$$;

-- A passcode that was changed in Zoom changes the link, and the old one is dead: participants get what Zoom says now.
create function video_sessions_private.follow_link(target uuid, meeting jsonb) returns void
language sql security definer set search_path = ''
as $$
  update public.video_sessions set
    join_url = meeting ->> 'join_url', passcode = meeting ->> 'passcode',
    settings = coalesce(nullif(meeting -> 'settings', '{}'), settings)
  where id = target
    and (join_url, passcode, settings)
      is distinct from (meeting ->> 'join_url', meeting ->> 'passcode', coalesce(nullif(meeting -> 'settings', '{}'), settings))
    and meeting ->> 'join_url' ~ '^https?://[^\s/]+' and char_length(meeting ->> 'join_url') <= 2000
$$;

-- start-session, last: stores the fresh start URL, unless the session or the connection has ended meanwhile.
create function public.edge_start_complete(user_id uuid, session_id uuid, meeting_id text, meeting jsonb)
returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  session public.video_sessions;
  good_until timestamptz;
begin
  select * into session from public.video_sessions
  where id = edge_start_complete.session_id and host_id = edge_start_complete.user_id
    and provider_meeting_id = edge_start_complete.meeting_id
  for no key update;
  if not found or not video_sessions_private.is_startable(session) then
    return '{"outcome": "not_found"}';
  end if;
  -- A session that was taken over: now it is known whose meeting it is.
  update video_sessions_private.zoom_meetings set zoom_user_id = connection.zoom_user_id
  from public.user_integrations_zoom connection
  where zoom_meetings.session_id = session.id and zoom_meetings.zoom_user_id is null
    and connection.user_id = session.host_id;
  perform video_sessions_private.follow_link(session.id, edge_start_complete.meeting);
  good_until := video_sessions_private.store_start_url(
    session.id, session.host_id, edge_start_complete.meeting ->> 'start_url'
  );
  if good_until is null then
    if exists (select from public.user_integrations_zoom where user_id = session.host_id and status = 'connected') then
      return '{"outcome": "zoom_other_account"}';
    end if;
    return jsonb_build_object(
      'outcome', 'no_token', 'token', video_sessions_private.claim_token(session.host_id, null, 60, null)
    );
  end if;
  return jsonb_build_object(
    'outcome', 'ready', 'host_start_url', edge_start_complete.meeting ->> 'start_url', 'expires_at', good_until
  );
end
$$;

-- start-session, when Zoom says that the meeting does not exist any more.
create function public.edge_start_gone(user_id uuid, session_id uuid, meeting_id text) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
begin
  if exists (
    select from public.video_sessions session
    join video_sessions_private.zoom_meetings meeting on meeting.session_id = session.id
    join public.user_integrations_zoom connection on connection.user_id = session.host_id
    where session.id = edge_start_gone.session_id and session.host_id = edge_start_gone.user_id
      and session.provider_meeting_id = edge_start_gone.meeting_id
      -- Another Zoom user knows nothing of the meeting.
      and connection.zoom_user_id = meeting.zoom_user_id
  ) then
    perform video_sessions_private.meeting_is_gone(edge_start_gone.session_id, now(), 'answer');
  elsif exists (
    select from video_sessions_private.zoom_meetings
    where session_id = edge_start_gone.session_id and zoom_user_id is null
  ) then
    -- The session was taken over: perhaps the host is connected as another Zoom user than the one that made it.
    return '{"outcome": "zoom_other_account"}';
  end if;
  return '{"outcome": "gone"}';
end
$$;

-- 100_events.sql

-- What Zoom tells us: its events, each once, in any order.

-- Zoom's events, each once. `details` is kept only while a creation is open that the event may belong to.
create table video_sessions_private.webhook_events (
  event_id text primary key,
  event text not null,
  event_ts timestamptz not null,
  meeting_id text,
  details jsonb,
  received_at timestamptz not null default now()
);
create index webhook_events_received_at_idx on video_sessions_private.webhook_events (received_at);
create index webhook_events_details_idx on video_sessions_private.webhook_events (received_at)
where details is not null;
create index webhook_events_unmatched_idx on video_sessions_private.webhook_events (meeting_id)
where details is not null;

-- Lets whoever connects a meeting with its session, and whoever has news of it, work one after another.
create function video_sessions_private.lock_meeting(meeting_id text) returns void
language sql set search_path = ''
as $$
  select pg_advisory_xact_lock(hashtextextended('zoom_meeting ' || meeting_id, 0))
$$;

-- zoom-webhook: takes an event, once. `event_ts` is when it happened, in milliseconds since 1970.
create function public.edge_webhook_receive(event_id text, event text, event_ts bigint, details jsonb) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  meeting constant text := edge_webhook_receive.details ->> 'meeting_id';
  happened_at constant timestamptz := to_timestamp(edge_webhook_receive.event_ts / 1000.0);
  account constant text := edge_webhook_receive.details ->> 'account_id';
  target uuid;
  is_new boolean;
begin
  insert into video_sessions_private.webhook_events (event_id, event, event_ts, meeting_id)
  values (edge_webhook_receive.event_id, edge_webhook_receive.event, happened_at, meeting)
  on conflict (event_id) do nothing
  returning true into is_new;
  if is_new is null then
    return '{"outcome": "duplicate"}';
  end if;
  if edge_webhook_receive.event = 'app_deauthorized' then
    return video_sessions_private.deauthorize(
      edge_webhook_receive.details ->> 'zoom_user_id', edge_webhook_receive.details ->> 'zoom_account_id',
      (edge_webhook_receive.details ->> 'deauthorization_time')::timestamptz
    );
  end if;
  perform video_sessions_private.lock_meeting(meeting);
  select id into target from public.video_sessions where provider_meeting_id = meeting;
  -- An event of another Zoom account than the meeting's is not believed.
  if target is not null and account is not null and exists (
    select from video_sessions_private.zoom_meetings held
    where held.session_id = target and held.zoom_account_id <> account and not exists (
      -- A Zoom user may move to another account, meetings and all.
      select from public.user_integrations_zoom
      where zoom_user_id = held.zoom_user_id and zoom_account_id = account
    )
  ) then
    return '{"outcome": "ignored"}';
  end if;
  if target is not null then
    perform video_sessions_private.apply_meeting_event(
      target, edge_webhook_receive.event, happened_at, edge_webhook_receive.details
    );
    return '{"outcome": "applied"}';
  end if;
  -- Not ours, as far as we know; but the answer to a creation may still be on its way.
  if exists (select from video_sessions_private.session_creations where state in ('running', 'unknown')) then
    update video_sessions_private.webhook_events set details = edge_webhook_receive.details
    where event_id = edge_webhook_receive.event_id;
    return '{"outcome": "kept"}';
  end if;
  return '{"outcome": "ignored"}';
end
$$;

-- Applies an event of Zoom's to a session. Orders of arrival all lead to the same end: what is told of instances is
-- added to what is known of them, and of several changes of the same detail the newest counts. A detail that
-- the app has changed and Zoom has not been told of yet stays the app's, and so does one that is the app's again after
-- Zoom was told another.
create function video_sessions_private.apply_meeting_event(target uuid, event text, happened_at timestamptz,
details jsonb) returns void
language plpgsql security definer set search_path = ''
as $$
declare
  session public.video_sessions;
  held video_sessions_private.zoom_meetings;
  sent jsonb;
  new_title text := video_sessions_private.as_title(details ->> 'topic');
  new_start timestamptz := (details ->> 'start_time')::timestamptz;
  -- When an instance began and ended; a time that makes no sense is the event's own.
  began timestamptz := least(happened_at, case when new_start > happened_at - interval '30 days' then new_start end);
  ended timestamptz := case
    when (details ->> 'end_time')::timestamptz between happened_at - interval '30 days' and happened_at
      then (details ->> 'end_time')::timestamptz
    else happened_at
  end;
  instance constant text := coalesce(details ->> 'uuid', 'at ' || coalesce(new_start, happened_at));
  new_duration bigint := (details ->> 'duration')::bigint;
  new_timezone text := details ->> 'timezone';
begin
  select * into session from public.video_sessions where id = target for no key update;
  select * into held from video_sessions_private.zoom_meetings where session_id = target for update;
  if held.session_id is null then
    return;
  end if;
  -- A clock that is ahead of ours must not make its events newer than what happens here next.
  happened_at := least(happened_at, now());
  began := least(began, happened_at);
  ended := least(ended, happened_at);
  new_start := case when new_start between '2010-01-01' and now() + interval '20 years' then new_start end;
  update video_sessions_private.zoom_meetings set heard_at = now() where session_id = target;
  case event
    when 'meeting.started' then
      perform video_sessions_private.note_instance(
        target, instance, began, null,
        -- A start that is told late may be over: only Zoom's answer says that it goes on.
        case when began > now() - interval '15 minutes' then began end
      );
      if began <= now() - interval '15 minutes' then
        perform video_sessions_private.ask_soon(target);
      end if;
      perform video_sessions_private.settle(target);
    when 'meeting.ended' then
      perform video_sessions_private.note_instance(
        target, instance, case when new_start is not null then least(began, ended) end, ended, null
      );
      perform video_sessions_private.settle(target);
      -- What a meeting refuses while it goes on.
      update video_sessions_private.zoom_outbox set next_attempt_at = now()
      where session_id = target and last_code = 'meeting_running';
    when 'meeting.deleted', 'meeting.permanently_deleted' then
      perform video_sessions_private.meeting_is_gone(target, happened_at, 'event');
    when 'meeting.recovered' then
      update video_sessions_private.zoom_meetings set
        recovered_at = greatest(recovered_at, happened_at),
        deleted_at = case when deleted_at >= happened_at then deleted_at end
      where session_id = target returning * into held;
      perform video_sessions_private.settle(target);
      select * into session from public.video_sessions where id = target;
      if held.deleted_at is null and (
        video_sessions_private.is_unwanted(session)
        or session.status = 'scheduled' and video_sessions_private.differs(session, held)
      ) then
        perform video_sessions_private.enqueue(
          session.provider_meeting_id, target, session.host_id, held.zoom_user_id,
          case when session.status = 'scheduled' then 'update' else 'delete' end
        );
      end if;
    when 'meeting.updated' then
      if details ? 'changes_link' then
        -- The new link is not in the event.
        perform video_sessions_private.ask_soon(target);
      end if;
      select claimed_desired into sent from video_sessions_private.zoom_outbox
      where meeting_id = session.provider_meeting_id;
      -- What is left of a longer title at Zoom means the whole.
      new_title := case new_title
        when video_sessions_private.as_cut_by_zoom(session.title) then session.title
        when video_sessions_private.as_cut_by_zoom(held.title) then held.title
        else new_title
      end;
      -- What is older than what is held changes nothing. But where the one was made in Zoom and the other sent by us
      -- at about the same time, only Zoom's answer says which came last.
      if happened_at <= held.title_at and nullif(new_title, '') <> held.title
        or happened_at <= held.scheduled_start_at and new_start <> held.scheduled_start
        or happened_at <= held.duration_minutes_at and new_duration <> held.duration_minutes
        or happened_at <= held.timezone_at and video_sessions_private.is_time_zone(new_timezone)
          and not video_sessions_private.same_zone(new_timezone, held.timezone)
      then
        perform video_sessions_private.ask_soon(target);
      end if;
      if new_title <> '' and happened_at > held.title_at then
        if session.title = held.title and session.title = coalesce(sent ->> 'title', held.title) then
          session.title := new_title;
        end if;
        held.title := new_title;
        held.title_at := happened_at;
      end if;
      if new_start is not null and happened_at > held.scheduled_start_at then
        if not video_sessions_private.untold(session, held) ? 'scheduled_start'
          and coalesce(session.scheduled_start = (sent ->> 'scheduled_start')::timestamptz, true)
        then
          session.scheduled_start := new_start;
        end if;
        held.scheduled_start := new_start;
        held.scheduled_start_at := happened_at;
      end if;
      if new_duration between 1 and 1440 and happened_at > held.duration_minutes_at then
        if session.duration_minutes = held.duration_minutes
          and session.duration_minutes = coalesce((sent ->> 'duration_minutes')::integer, held.duration_minutes)
        then
          session.duration_minutes := new_duration;
        end if;
        held.duration_minutes := new_duration;
        held.duration_minutes_at := happened_at;
      end if;
      -- Zones with the same rules are one: what we sent for the session's own is not the host's change.
      if happened_at > held.timezone_at and video_sessions_private.is_time_zone(new_timezone) then
        if not video_sessions_private.same_zone(new_timezone, held.timezone)
          and not video_sessions_private.untold(session, held) ? 'timezone'
          and video_sessions_private.same_zone(session.timezone, sent ->> 'timezone')
        then
          session.timezone := new_timezone;
        end if;
        held.timezone := new_timezone;
        held.timezone_at := happened_at;
      end if;
      update video_sessions_private.zoom_meetings set
        title = held.title, title_at = held.title_at,
        scheduled_start = held.scheduled_start, scheduled_start_at = held.scheduled_start_at,
        duration_minutes = held.duration_minutes, duration_minutes_at = held.duration_minutes_at,
        timezone = held.timezone, timezone_at = held.timezone_at
      where session_id = target;
      update public.video_sessions set
        title = session.title, scheduled_start = session.scheduled_start,
        duration_minutes = session.duration_minutes, timezone = session.timezone
      where id = target
        and (title, scheduled_start, duration_minutes, timezone)
          is distinct from (session.title, session.scheduled_start, session.duration_minutes, session.timezone)
        -- What a person has closed stays as it was.
        and not exists (
          select from video_sessions_private.session_life where session_id = target and closed_as is not null
        );
      -- What the app wants and Zoom does not hold is on its way, or sent again: this event overtook it.
      if session.status = 'scheduled' and held.deleted_at is null and video_sessions_private.differs(session, held)
        and not exists (select from video_sessions_private.zoom_outbox where meeting_id = session.provider_meeting_id)
      then
        perform video_sessions_private.enqueue(
          session.provider_meeting_id, target, session.host_id, held.zoom_user_id, 'update'
        );
      end if;
    else
      raise exception 'an event that nobody applies: %', event;
  end case;
end
$$;

-- A title as Zoom holds it: at most 200 UTF-16 units of it.
create function video_sessions_private.as_cut_by_zoom(title text) returns text
language sql immutable set search_path = ''
as $$
  select case
    when char_length(title) <= 100 then title
    else (
      select btrim(string_agg(letter, '' order by place))
      from (
        select letter, place, sum(case when ascii(letter) > 65535 then 2 else 1 end) over (order by place) as units
        from regexp_split_to_table(title, '') with ordinality as letters (letter, place)
      ) as counted
      where units <= 200
    )
  end
$$;

-- 105_watch.sql

-- The watch: what events would have said, by asking. Without any event from Zoom the same end is reached, later. A
-- session is asked about around its planned start and end and while it runs over, where events have not said so
-- already; each host's list of meetings is looked through twice a day for what was moved, renamed or deleted.

-- When Zoom is asked about a session next.
create table video_sessions_private.watched_sessions (
  session_id uuid primary key references public.video_sessions (id) on delete cascade,
  ask_at timestamptz,
  urgent_at timestamptz,
  asked_at timestamptz,
  failures integer not null default 0
);
create index watched_sessions_ask_at_idx on video_sessions_private.watched_sessions (ask_at) where ask_at is not null;
comment on column video_sessions_private.watched_sessions.urgent_at is
  'Something that happened then has to be asked about, whatever the plan says.';
comment on column video_sessions_private.watched_sessions.asked_at is 'When Zoom was last asked, and answered.';
comment on column video_sessions_private.watched_sessions.failures is 'Questions since then that had no answer.';

-- When a host's list is looked through next. Hosts without sessions to come, cancelled ones included, have no row: what
-- was cancelled may be recovered in Zoom.
create table video_sessions_private.watched_hosts (
  user_id uuid primary key references auth.users (id) on delete cascade,
  list_at timestamptz not null
);
create index watched_hosts_list_at_idx on video_sessions_private.watched_hosts (list_at);

-- When to ask Zoom about a session next, which may have passed. Null: there is nothing to ask.
create function video_sessions_private.next_question(session public.video_sessions) returns timestamptz
language plpgsql stable security definer set search_path = ''
as $$
declare
  start_is_due constant timestamptz := session.scheduled_start + interval '10 minutes';
  planned_end constant timestamptz := session.scheduled_start + make_interval(mins => session.duration_minutes);
  end_is_due constant timestamptz := planned_end + interval '10 minutes';
  -- An hour after its end a session that nobody held is over.
  last_look constant timestamptz := planned_end + interval '55 minutes';
  asked timestamptz;
  heard timestamptz;
begin
  if session.provider <> 'zoom' or session.status <> 'scheduled' or now() > planned_end + interval '24 hours' then
    return null;
  end if;
  select coalesce(asked_at, '-infinity') into asked
  from video_sessions_private.watched_sessions where session_id = session.id;
  asked := coalesce(asked, '-infinity');
  select heard_at into heard from video_sessions_private.zoom_meetings where session_id = session.id;
  case
    -- It goes on.
    when session.started_at is not null and session.ended_at is null then
      return greatest(end_is_due, asked + interval '30 minutes');
    -- It was held, and may go on again.
    when session.ended_at is not null then
      return case when asked < end_is_due and (heard is null or heard < planned_end) then end_is_due end;
    when asked < start_is_due then return start_is_due;
    when asked < end_is_due then return end_is_due;
    when asked < last_look then return last_look;
    else return null;
  end case;
end
$$;

create function video_sessions_private.watch_session() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  insert into video_sessions_private.watched_sessions as watched (session_id, ask_at)
  values (new.id, video_sessions_private.next_question(new))
  on conflict (session_id) do update set ask_at = least(
    excluded.ask_at, case when watched.urgent_at is not null then watched.ask_at end
  );
  if new.status = 'scheduled' then
    insert into video_sessions_private.watched_hosts (user_id, list_at)
    values (new.host_id, now() + random() * interval '12 hours')
    on conflict (user_id) do nothing;
  end if;
  return null;
end
$$;
create trigger watch_new_session after insert on public.video_sessions
for each row when (new.provider = 'zoom')
execute function video_sessions_private.watch_session();
create trigger watch_session after update on public.video_sessions
for each row when (
  new.provider = 'zoom' and (
    (old.scheduled_start, old.duration_minutes, old.status, old.started_at, old.ended_at)
      is distinct from (new.scheduled_start, new.duration_minutes, new.status, new.started_at, new.ended_at)
  )
)
execute function video_sessions_private.watch_session();

-- Whether Zoom's answer can change anything: it may know better of a meeting that it deleted.
create function video_sessions_private.is_worth_asking(session public.video_sessions) returns boolean
language sql stable security definer set search_path = ''
as $$
  select video_sessions_private.is_startable(session) or exists (
    select from video_sessions_private.zoom_meetings where session_id = session.id and deleted_at is not null
  )
$$;

-- Something happened in Zoom that only Zoom's answer explains.
create function video_sessions_private.ask_soon(target uuid) returns void
language sql security definer set search_path = ''
as $$
  insert into video_sessions_private.watched_sessions (session_id, ask_at, urgent_at)
  select v.id, now(), now() from public.video_sessions v
  where v.id = target and v.provider = 'zoom' and video_sessions_private.is_worth_asking(v)
  on conflict (session_id) do update set ask_at = excluded.ask_at, urgent_at = excluded.urgent_at
$$;

-- zoom-sync: claims questions and lists that are due, for three minutes. What cannot be asked because its host is not
-- connected, or as another Zoom user, is put off. `more`: another claim may find more.
create function public.edge_watch_claim(max_questions integer, max_lists integer) returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  lease constant interval := '3 minutes';
  candidates constant uuid[] := array(
    select session_id from video_sessions_private.watched_sessions
    where ask_at <= now() order by ask_at limit max_questions
  );
  hosts constant uuid[] := array(
    select user_id from video_sessions_private.watched_hosts where list_at <= now() order by list_at limit max_lists
  );
  candidate uuid;
  watched video_sessions_private.watched_sessions;
  session public.video_sessions;
  meeting video_sessions_private.zoom_meetings;
  connection public.user_integrations_zoom;
  due_at timestamptz;
  questions jsonb := '[]';
  lists jsonb := '[]';
begin
  foreach candidate in array candidates loop
    select * into watched from video_sessions_private.watched_sessions
    where session_id = candidate and ask_at <= now() for update skip locked;
    continue when not found;
    select * into session from public.video_sessions where id = candidate;
    select * into meeting from video_sessions_private.zoom_meetings where session_id = candidate;
    select * into connection from public.user_integrations_zoom where user_id = session.host_id;
    due_at := case
      when meeting.session_id is null then null
      when watched.urgent_at is not null and video_sessions_private.is_worth_asking(session) then watched.urgent_at
      when meeting.deleted_at is not null then null
      else video_sessions_private.next_question(session)
    end;
    if due_at <= now() then
      case
        when connection.status is distinct from 'connected' or connection.zoom_user_id <> meeting.zoom_user_id then
          due_at := now() + interval '30 minutes';
        when connection.cooldown_until > now() then
          due_at := connection.cooldown_until;
        else
          due_at := now() + lease;
          questions := questions || jsonb_build_object(
            'session_id', session.id, 'user_id', session.host_id, 'meeting_id', session.provider_meeting_id,
            'zoom_user_id', connection.zoom_user_id, 'token', video_sessions_private.peek_token(session.host_id)
          );
      end case;
    end if;
    update video_sessions_private.watched_sessions set ask_at = due_at where session_id = candidate;
  end loop;

  foreach candidate in array hosts loop
    perform from video_sessions_private.watched_hosts
    where user_id = candidate and list_at <= now() for update skip locked;
    continue when not found;
    if not exists (
      select from public.video_sessions v
      where v.host_id = candidate and v.provider = 'zoom' and v.scheduled_start > now() - interval '1 day'
    ) then
      delete from video_sessions_private.watched_hosts where user_id = candidate;
      continue;
    end if;
    select * into connection from public.user_integrations_zoom where user_id = candidate;
    if connection.status = 'connected'
      and (connection.cooldown_until is null or connection.cooldown_until <= now())
    then
      lists := lists || jsonb_build_object(
        'user_id', candidate, 'zoom_user_id', connection.zoom_user_id,
        'token', video_sessions_private.peek_token(candidate)
      );
    end if;
    update video_sessions_private.watched_hosts set
      list_at = now() + case when connection.status = 'connected' then interval '15 minutes' else interval '6 hours' end
    where user_id = candidate;
  end loop;
  return jsonb_build_object(
    'questions', questions, 'lists', lists, 'asked_at', now(),
    'more', cardinality(candidates) >= max_questions or cardinality(hosts) >= max_lists
  );
end
$$;

-- What a meeting was called, and when it was, at the time of asking: as an event of that time would say.
create function video_sessions_private.follow_details(target uuid, seen jsonb, asked_at timestamptz) returns void
language plpgsql security definer set search_path = ''
as $$
declare
  held video_sessions_private.zoom_meetings;
begin
  select * into held from video_sessions_private.zoom_meetings where session_id = target;
  if (held.title, held.scheduled_start, held.duration_minutes) is distinct from (
    coalesce(seen ->> 'topic', held.title), coalesce((seen ->> 'start_time')::timestamptz, held.scheduled_start),
    coalesce((seen ->> 'duration')::bigint, held.duration_minutes)
  ) or held.timezone is distinct from coalesce(seen ->> 'timezone', held.timezone) then
    perform video_sessions_private.apply_meeting_event(
      target, 'meeting.updated', asked_at, seen - '{uuid,status,id}'::text[]
    );
  end if;
end
$$;

-- A session whose Zoom user nobody knows is the connected one's, who has its meeting.
create function video_sessions_private.bind_meeting(target uuid, connection public.user_integrations_zoom) returns void
language sql security definer set search_path = ''
as $$
  update video_sessions_private.zoom_meetings set
    zoom_user_id = connection.zoom_user_id, zoom_account_id = connection.zoom_account_id
  where session_id = target and zoom_user_id is null
$$;

-- zoom-sync: what Zoom answered to a question, or that it did not. `answer`: `{outcome: found, meeting}`; `gone`, by
-- Zoom's 404; `no_meeting`, it is no meeting any more; `failed`, with `retry_after_seconds` where Zoom named them.
create function public.edge_watch_save(session_id uuid, zoom_user_id text, asked_at timestamptz, answer jsonb)
returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  target constant uuid := edge_watch_save.session_id;
  asked constant timestamptz := edge_watch_save.asked_at;
  found_meeting constant jsonb := edge_watch_save.answer -> 'meeting';
  outcome text := edge_watch_save.answer ->> 'outcome';
  seconds constant bigint := (edge_watch_save.answer ->> 'retry_after_seconds')::bigint;
  wait interval := case when seconds is not null then make_interval(secs => least(seconds, 90000)) end;
  session public.video_sessions;
  meeting video_sessions_private.zoom_meetings;
  connection public.user_integrations_zoom;
begin
  select * into session from public.video_sessions where id = target for no key update;
  select * into meeting from video_sessions_private.zoom_meetings where session_id = target for update;
  select * into connection from public.user_integrations_zoom where user_id = session.host_id;
  if meeting.session_id is null then
    return '{"outcome": "superseded"}';
  end if;
  if outcome <> 'failed' and (
    connection.zoom_user_id is distinct from edge_watch_save.zoom_user_id
    -- A 404 counts only where the meeting is known to be this Zoom user's.
    or outcome = 'gone' and meeting.zoom_user_id is distinct from edge_watch_save.zoom_user_id
  ) then
    outcome := 'failed';
    wait := interval '6 hours';
  end if;
  case outcome
    when 'found' then
      perform video_sessions_private.bind_meeting(target, connection);
      if meeting.deleted_at < asked then
        perform video_sessions_private.apply_meeting_event(target, 'meeting.recovered', asked, '{}');
      end if;
      perform video_sessions_private.follow_details(target, found_meeting, asked);
      perform video_sessions_private.follow_link(target, found_meeting);
      perform video_sessions_private.meeting_was_asked(
        target, found_meeting ->> 'uuid', found_meeting ->> 'status' = 'started', asked
      );
    when 'gone' then
      perform video_sessions_private.meeting_is_gone(target, asked, 'answer');
    when 'no_meeting' then
      perform video_sessions_private.meeting_was_asked(target, null, false, asked);
    else
      update video_sessions_private.watched_sessions set
        failures = failures + 1,
        ask_at = now() + coalesce(wait, least(interval '1 hour', interval '5 minutes' * power(2, least(failures, 10))))
      where session_id = target;
      return '{"outcome": "postponed"}';
  end case;
  update video_sessions_private.watched_sessions set
    failures = 0, asked_at = greatest(asked_at, asked),
    urgent_at = case when urgent_at > asked then urgent_at end
  where session_id = target;
  select * into session from public.video_sessions where id = target;
  update video_sessions_private.watched_sessions set
    ask_at = case
      when urgent_at is not null then urgent_at else video_sessions_private.next_question(session)
    end
  where session_id = target;
  return jsonb_build_object('outcome', outcome);
end
$$;

-- zoom-sync: a host's list of meetings, or as much of it as was read. What is missing from a whole list is asked for by
-- itself before anything is believed, and so is one that was deleted; a meeting that this database knows nothing of is
-- left alone.
create function public.edge_watch_save_list(
  user_id uuid, zoom_user_id text, asked_at timestamptz, meetings jsonb, is_whole boolean
) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  connection public.user_integrations_zoom;
  row record;
  followed integer := 0;
  missing integer := 0;
begin
  select * into connection from public.user_integrations_zoom where user_id = edge_watch_save_list.user_id;
  if connection.zoom_user_id is distinct from edge_watch_save_list.zoom_user_id then
    return '{"followed": 0, "missing": 0}';
  end if;
  for row in
    select v.id, held.zoom_user_id is null as is_unbound, held.deleted_at, listed.meeting
    from public.video_sessions v
    join video_sessions_private.zoom_meetings held on held.session_id = v.id
    left join (
      select meeting ->> 'id' as id, meeting
      from jsonb_array_elements(edge_watch_save_list.meetings) as meeting
    ) as listed on listed.id = v.provider_meeting_id
    where v.host_id = edge_watch_save_list.user_id and v.provider = 'zoom'
      and v.scheduled_start > now() - interval '30 days'
      and (held.deleted_at is null or listed.meeting is not null and held.deleted_at < edge_watch_save_list.asked_at)
      and coalesce(held.zoom_user_id, edge_watch_save_list.zoom_user_id) = edge_watch_save_list.zoom_user_id
      and (v.status = 'scheduled' or listed.meeting is not null)
      and v.created_at < edge_watch_save_list.asked_at
    order by v.id
  loop
    -- Recovered, it seems.
    if row.deleted_at is not null then
      perform video_sessions_private.ask_soon(row.id);
      continue;
    end if;
    if row.meeting is null then
      if edge_watch_save_list.is_whole then
        perform video_sessions_private.ask_soon(row.id);
        missing := missing + 1;
      end if;
      continue;
    end if;
    -- What somebody else is changing now is asked for by itself.
    perform from public.video_sessions where id = row.id for no key update skip locked;
    if not found then
      perform video_sessions_private.ask_soon(row.id);
      continue;
    end if;
    if row.is_unbound then
      perform video_sessions_private.bind_meeting(row.id, connection);
    end if;
    perform video_sessions_private.follow_details(row.id, row.meeting, edge_watch_save_list.asked_at);
    followed := followed + 1;
  end loop;
  update video_sessions_private.watched_hosts set
    list_at = now() + interval '12 hours' + random() * interval '20 minutes'
  where user_id = edge_watch_save_list.user_id;
  return jsonb_build_object('followed', followed, 'missing', missing);
end
$$;

-- For an operator, after an outage of webhooks or when a backup was restored: everything is looked at now.
create function public.edge_watch_all() returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  sessions integer;
  hosts integer;
begin
  update video_sessions_private.watched_sessions watched set ask_at = now(), urgent_at = now()
  from public.video_sessions v
  where v.id = watched.session_id
    and v.scheduled_start between now() - interval '50 hours' and now() + interval '10 minutes'
    and video_sessions_private.is_startable(v);
  get diagnostics sessions = row_count;
  insert into video_sessions_private.watched_hosts (user_id, list_at)
  select distinct host_id, now() from public.video_sessions
  where provider = 'zoom' and scheduled_start > now() - interval '1 day'
  on conflict (user_id) do update set list_at = now();
  get diagnostics hosts = row_count;
  return jsonb_build_object('sessions', sessions, 'hosts', hosts);
end
$$;

-- 110_revocations.sql

-- The end of a connection: the host disconnects, removes the app at Zoom, or deletes the account.

-- The tokens of connections that were ended, until they are revoked at Zoom: out of everybody else's reach.
create table video_sessions_private.zoom_revocations (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null,
  zoom_user_id text not null,
  access_token text not null check (access_token like 'v1.%'),
  refresh_token text not null check (refresh_token like 'v1.%'),
  access_token_expires_at timestamptz not null,
  claimed_until timestamptz not null,
  created_at timestamptz not null default now()
);
create index zoom_revocations_claimed_until_idx on video_sessions_private.zoom_revocations (claimed_until);
create index zoom_revocations_user_id_idx on video_sessions_private.zoom_revocations (user_id);
create index zoom_revocations_zoom_user_id_idx on video_sessions_private.zoom_revocations (zoom_user_id);
create index zoom_revocations_created_at_idx on video_sessions_private.zoom_revocations (created_at);

-- Revocations of ours that Zoom was or will be asked for. Zoom answers each by `app_deauthorized`, at some time. Of the
-- Zoom user a hash: nothing of somebody who has left stays here.
create table video_sessions_private.revocation_echoes (
  id uuid primary key default gen_random_uuid(),
  zoom_user_hash text not null,
  expected_at timestamptz not null default now()
);
create index revocation_echoes_zoom_user_hash_idx on video_sessions_private.revocation_echoes (zoom_user_hash);
create index revocation_echoes_expected_at_idx on video_sessions_private.revocation_echoes (expected_at);

-- Takes a connection out of everybody's reach: its tokens move to the revocations, its states go. A revocation takes
-- the app away from that Zoom user altogether, so there is no revocation while another app user is connected as the
-- same.
create function video_sessions_private.revoke_connection(connection public.user_integrations_zoom)
returns video_sessions_private.zoom_revocations
language plpgsql security definer set search_path = ''
as $$
declare
  revocation video_sessions_private.zoom_revocations;
begin
  delete from public.user_integrations_zoom where user_id = connection.user_id;
  delete from video_sessions_private.zoom_oauth_states where user_id = connection.user_id and consumed_at is null;
  if connection.access_token is not null and not exists (
    select from public.user_integrations_zoom where zoom_user_id = connection.zoom_user_id and status = 'connected'
  ) then
    insert into video_sessions_private.revocation_echoes (zoom_user_hash)
    values (video_sessions_private.hash(connection.zoom_user_id));
    insert into video_sessions_private.zoom_revocations (user_id, zoom_user_id, access_token, refresh_token,
    access_token_expires_at, claimed_until)
    values (
      connection.user_id, connection.zoom_user_id, connection.access_token, connection.refresh_token,
      connection.access_token_expires_at, now() + interval '2 minutes'
    )
    returning * into revocation;
  end if;
  return revocation;
end
$$;

create function video_sessions_private.revocation_as_json(revocation video_sessions_private.zoom_revocations)
returns jsonb
language sql stable set search_path = ''
as $$
  select jsonb_build_object(
    'revocation_id', revocation.id, 'user_id', revocation.user_id,
    'access_token', revocation.access_token, 'refresh_token', revocation.refresh_token,
    'fresh', revocation.access_token_expires_at > now() + interval '1 minute'
  )
$$;

-- What Zoom still has to be told of a user's sessions, and creations of which nobody knows what became: by count.
create function video_sessions_private.left_at_zoom(owner uuid) returns jsonb
language sql stable security definer set search_path = ''
as $$
  select jsonb_build_object(
    'changes', count(*) filter (where kind = 'update'),
    'deletions', count(*) filter (
      where kind = 'delete' or kind = 'end' and video_sessions_private.is_running(session_id)
    ),
    'creations', (
      select count(*) from video_sessions_private.session_creations
      where user_id = owner and state in ('running', 'unknown')
    )
  ) from video_sessions_private.zoom_outbox where user_id = owner
$$;

-- zoom-disconnect, first. With mode `if_drained` only if Zoom knows all of this host's changes, with `always` anyway;
-- `left_at_zoom` says what it does not know.
create function public.edge_disconnect_begin(user_id uuid, mode text) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  connection public.user_integrations_zoom;
  revocation video_sessions_private.zoom_revocations;
  left_there jsonb;
begin
  -- A consent that nobody confirms any more goes as if its time were over.
  update video_sessions_private.pending_connections set expires_at = least(expires_at, now())
  where user_id = edge_disconnect_begin.user_id;
  select * into connection from public.user_integrations_zoom where user_id = edge_disconnect_begin.user_id for update;
  left_there := video_sessions_private.left_at_zoom(edge_disconnect_begin.user_id);
  if connection.user_id is null then
    return jsonb_build_object('outcome', 'not_connected', 'left_at_zoom', left_there);
  end if;
  if edge_disconnect_begin.mode = 'if_drained' and connection.status = 'connected'
    and (
      exists (
        select from video_sessions_private.zoom_outbox
        where user_id = edge_disconnect_begin.user_id and dead_at is null
      )
      or exists (
        select from video_sessions_private.session_creations open_creation
        where user_id = edge_disconnect_begin.user_id and state in ('running', 'unknown')
          and zoom_user_id = connection.zoom_user_id and video_sessions_private.is_unclear(open_creation)
      )
    )
  then
    return '{"outcome": "pending"}';
  end if;
  revocation := video_sessions_private.revoke_connection(connection);
  if revocation.id is null then
    return jsonb_build_object('outcome', 'not_connected', 'left_at_zoom', left_there);
  end if;
  return jsonb_build_object(
    'outcome', 'revoke', 'left_at_zoom', left_there, 'revocation', video_sessions_private.revocation_as_json(revocation)
  );
end
$$;

-- zoom-disconnect, last: the tokens are revoked, or Zoom is down; either way they go.
create function public.edge_disconnect_complete(revocation_id uuid) returns jsonb
language plpgsql security definer set search_path = ''
as $$
begin
  delete from video_sessions_private.zoom_revocations where id = edge_disconnect_complete.revocation_id;
  return '{"outcome": "forgotten"}';
end
$$;

-- A Zoom user has removed the app: connection and data of that user go. If the word may be the echo of a revocation of
-- ours, or names another account than the one that is known, it ends nothing by itself: a refresh finds out what is
-- true. A connection that was made later is another one.
create function video_sessions_private.deauthorize(zoom_user text, zoom_account text,
deauthorized_at timestamptz) returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  ended integer := 0;
begin
  perform video_sessions_private.lock_zoom_user(zoom_user);
  delete from video_sessions_private.zoom_revocations where zoom_user_id = zoom_user and created_at < deauthorized_at;
  delete from video_sessions_private.revocation_echoes where id = (
    select id from video_sessions_private.revocation_echoes
    where zoom_user_hash = video_sessions_private.hash(zoom_user)
      and expected_at between deauthorized_at - interval '1 hour' and deauthorized_at + interval '5 minutes'
    order by expected_at limit 1
  );
  if not found then
    -- The feed tells of connections that expire.
    perform video_sessions_private.expire_connection(user_id, 'revoked') from public.user_integrations_zoom
    where zoom_user_id = zoom_user and zoom_account_id = zoom_account and connected_at < deauthorized_at;
    delete from public.user_integrations_zoom
    where zoom_user_id = zoom_user and zoom_account_id = zoom_account and connected_at < deauthorized_at;
    get diagnostics ended = row_count;
    delete from video_sessions_private.pending_connections
    where zoom_user_id = zoom_user and created_at < deauthorized_at;
  end if;
  perform video_sessions_private.refresh_soon(zoom_user);
  delete from video_sessions_private.zoom_accounts known
  where zoom_user_id = zoom_user and not exists (
    select from public.user_integrations_zoom where user_id = known.user_id and zoom_user_id = zoom_user
  );
  return jsonb_build_object('outcome', case when ended > 0 then 'deauthorized' else 'ignored' end);
end
$$;

-- An account is deleted: its sessions go by their foreign key, and their meetings by the outbox; its connection stays
-- as long as that takes.
create function video_sessions_private.account_deleted() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  update public.user_integrations_zoom set account_deleted_at = now() where user_id = old.id;
  update video_sessions_private.pending_connections set expires_at = least(expires_at, now()) where user_id = old.id;
  delete from video_sessions_private.session_creations where user_id = old.id and state in ('done', 'failed');
  return null;
end
$$;
create trigger video_sessions_account_deleted after delete on auth.users
for each row execute function video_sessions_private.account_deleted();

-- Connections of deleted accounts that can leave: nothing of theirs is on its way to Zoom any more, or never will be,
-- or a day is over.
create function video_sessions_private.connections_leaving() returns setof public.user_integrations_zoom
language sql stable security definer set search_path = ''
as $$
  select * from public.user_integrations_zoom leaving
  where account_deleted_at is not null and (
    status = 'expired' or account_deleted_at < now() - interval '1 day'
    or not exists (select from video_sessions_private.zoom_outbox where user_id = leaving.user_id and dead_at is null)
      and not exists (
        select from video_sessions_private.session_creations
        where user_id = leaving.user_id and state in ('running', 'unknown')
      )
  )
$$;

-- zoom-sync: claims connections that were left and not revoked yet, those of deleted accounts among them, and consents
-- that nobody has confirmed in time.
create function public.edge_revocations_claim(max_rows integer) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  leaving uuid;
  connection public.user_integrations_zoom;
  pending video_sessions_private.pending_connections;
  claimed jsonb;
begin
  for pending in
    select * from video_sessions_private.pending_connections where expires_at <= now()
    order by expires_at limit edge_revocations_claim.max_rows
  loop
    -- Somebody is deciding about this Zoom user: the next run comes soon enough.
    continue when not pg_try_advisory_xact_lock(hashtextextended('zoom_user ' || pending.zoom_user_id, 0));
    delete from video_sessions_private.pending_connections where handle_hash = pending.handle_hash;
    continue when not found;
    if exists (
      select from public.user_integrations_zoom where zoom_user_id = pending.zoom_user_id and status = 'connected'
    ) then
      -- A revocation would end that connection. It may have ended at the consent already: a refresh finds out.
      perform video_sessions_private.refresh_soon(pending.zoom_user_id);
    else
      insert into video_sessions_private.revocation_echoes (zoom_user_hash)
      values (video_sessions_private.hash(pending.zoom_user_id));
      insert into video_sessions_private.zoom_revocations (user_id, zoom_user_id, access_token, refresh_token,
      access_token_expires_at, claimed_until)
      values (
        pending.user_id, pending.zoom_user_id, pending.access_token, pending.refresh_token,
        pending.access_token_expires_at, now()
      );
    end if;
  end loop;
  foreach leaving in array array(
    select user_id from video_sessions_private.connections_leaving() limit edge_revocations_claim.max_rows
  ) loop
    select * into connection from public.user_integrations_zoom
    where user_id = leaving and account_deleted_at is not null
    for update skip locked;
    continue when not found;
    perform video_sessions_private.revoke_connection(connection);
    delete from video_sessions_private.zoom_outbox where user_id = connection.user_id;
    update video_sessions_private.zoom_revocations set claimed_until = now() where user_id = connection.user_id;
  end loop;
  with due as (
    select id from video_sessions_private.zoom_revocations where claimed_until <= now()
    order by claimed_until limit edge_revocations_claim.max_rows
    for update skip locked
  ), claims as (
    update video_sessions_private.zoom_revocations set claimed_until = now() + interval '2 minutes'
    from due where zoom_revocations.id = due.id
    returning zoom_revocations.*
  )
  select coalesce(jsonb_agg(video_sessions_private.revocation_as_json(claims)), '[]') into claimed from claims;
  return jsonb_build_object('revocations', claimed);
end
$$;

-- 115_waiting.sql

-- What Zoom does not know yet, for the host to see.

create function public.video_sessions_waiting()
returns table (session_id uuid, kind text, since timestamptz, reason text)
language sql stable security definer set search_path = ''
as $$
  with mine as (
    select task.session_id, task.kind, task.created_at, task.zoom_user_id, task.dead_at is not null as is_given_up,
      task.attempts > 0 as has_failed, task.last_code = 'meeting_running' as meeting_runs
    from video_sessions_private.zoom_outbox task
    where task.user_id = auth.uid()
    union all
    select creation.id, 'create', creation.created_at, creation.zoom_user_id, false, creation.state = 'unknown', false
    from video_sessions_private.session_creations creation
    where creation.user_id = auth.uid() and creation.state in ('running', 'unknown')
  )
  select mine.session_id, mine.kind, mine.created_at,
    case
      when connection.user_id is null then 'zoom_not_connected'
      when connection.status <> 'connected' or connection.expires_at <= now() then 'zoom_expired'
      when connection.zoom_user_id <> mine.zoom_user_id then 'zoom_other_account'
      when mine.is_given_up then 'given_up'
      when mine.kind = 'update' and connection.daily_limit_until > now() then 'zoom_daily_limit'
      when mine.meeting_runs then 'meeting_running'
      when mine.has_failed or connection.cooldown_until > now() then 'zoom_unavailable'
      else 'sending'
    end
  from mine left join public.user_integrations_zoom connection on connection.user_id = auth.uid()
$$;
comment on function public.video_sessions_waiting is
  'The caller''s changes that Zoom has not confirmed: kind create|update|delete|end; reason sending|zoom_unavailable|
meeting_running|zoom_daily_limit|zoom_not_connected|zoom_expired|zoom_other_account|given_up.';

-- 120_key_rotation.sql

-- Sealing keys change: what is sealed with an older one is sealed again.

-- Rotation of sealing keys: connections that are sealed with another key than `key_id`, and how many rows in all need
-- another one: revocations, consents that nobody has confirmed yet, and states on their way to the consent page are
-- gone within minutes.
create function public.edge_reseal_claim(key_id text, max_rows integer) returns jsonb
language sql stable security definer set search_path = ''
as $$
  with stale as (
    select user_id, token_version, access_token, refresh_token
    from public.user_integrations_zoom
    where not (starts_with(access_token, 'v1.' || key_id || '.') and starts_with(refresh_token, 'v1.' || key_id || '.'))
  )
  select jsonb_build_object(
    'connections', coalesce(
      (select jsonb_agg(to_jsonb(first)) from (select * from stale order by user_id limit max_rows) as first), '[]'
    ),
    'total', (select count(*) from stale) + (
      select count(*) from video_sessions_private.zoom_revocations
      where not (starts_with(access_token, 'v1.' || key_id || '.') and starts_with(refresh_token,
      'v1.' || key_id || '.'))
    ) + (
      select count(*) from video_sessions_private.pending_connections
      where not (starts_with(access_token, 'v1.' || key_id || '.') and starts_with(refresh_token,
      'v1.' || key_id || '.'))
    ) + (
      select count(*) from video_sessions_private.zoom_oauth_states
      where consumed_at is null and expires_at > now() and not starts_with(sealed_verifier, 'v1.' || key_id || '.')
    )
  )
$$;

-- Saves the same tokens under a new seal, unless they have changed meanwhile: then they carry the new seal already.
create function public.edge_reseal(
  user_id uuid, token_version bigint, old_refresh_token text, access_token text, refresh_token text
) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
begin
  update public.user_integrations_zoom set
    access_token = edge_reseal.access_token, refresh_token = edge_reseal.refresh_token
  where user_id = edge_reseal.user_id and token_version = edge_reseal.token_version
    and refresh_token = edge_reseal.old_refresh_token;
  return jsonb_build_object('outcome', case when found then 'resealed' else 'superseded' end);
end
$$;

-- 130_joining.sql

-- Joining by the code that a host shares, and whom no code lets in.

-- Participants whom the host removed: no code lets them back in, only the host's own invitation does.
create table video_sessions_private.removed_participants (
  session_id uuid not null references public.video_sessions (id) on delete cascade,
  user_id uuid not null references auth.users (id) on delete cascade,
  primary key (session_id, user_id)
);
create index removed_participants_user_id_idx on video_sessions_private.removed_participants (user_id);

create function video_sessions_private.remember_removal() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  if video_sessions_private.is_app() and old.user_id <> auth.uid() then
    -- Not when the session goes, and all who take part with it.
    insert into video_sessions_private.removed_participants (session_id, user_id)
    select id, old.user_id from public.video_sessions where id = old.session_id
    on conflict do nothing;
  end if;
  return null;
end
$$;
create trigger remember_removal after delete on public.video_session_participants
for each row execute function video_sessions_private.remember_removal();

create function video_sessions_private.forget_removal() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  delete from video_sessions_private.removed_participants where session_id = new.session_id and user_id = new.user_id;
  return null;
end
$$;
create trigger forget_removal after insert on public.video_session_participants
for each row execute function video_sessions_private.forget_removal();

-- Wrong share codes, counted by user, to slow down who guesses.
create table video_sessions_private.share_code_misses (
  user_id uuid primary key references auth.users (id) on delete cascade,
  misses integer not null,
  window_started_at timestamptz not null
);
create index share_code_misses_window_started_at_idx on video_sessions_private.share_code_misses (window_started_at);

-- The name under which a host is shown to somebody who holds an invitation. An app whose people have their names
-- elsewhere replaces this. No client role may execute it: a name is told for a code, not for an id.
create function public.video_session_display_name(user_id uuid) returns text
language sql stable security definer set search_path = ''
as $$
  select nullif(left(btrim(coalesce(raw_user_meta_data ->> 'full_name', raw_user_meta_data ->> 'name')), 200), '')
  from auth.users where id = video_session_display_name.user_id
$$;
comment on function public.video_session_display_name is
  'The name of a host for those who hold an invitation, or null. Replace it to take it from elsewhere.';

-- Whether somebody who does not take part yet may join.
create function video_sessions_private.may_join(session public.video_sessions, joiner uuid) returns boolean
language sql stable security definer set search_path = ''
as $$
  select session.status = 'scheduled'
    and session.max_participants > (
      select count(*) from public.video_session_participants where session_id = session.id
    )
    and not exists (
      select from video_sessions_private.removed_participants where session_id = session.id and user_id = joiner
    )
$$;

-- join-session: lets a user in by the code that the host shares, or only shows where it leads. A code that leads
-- nowhere and a session that cannot be joined get the same answer, so that guessing teaches nothing. Nothing but the
-- user's own count is locked before the session is found to be joinable; then code and session are looked at again
-- under its lock.
create function public.edge_join(user_id uuid, share_code text, preview boolean, allow_anonymous boolean) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  max_misses constant integer := 10;
  window_length constant interval := '10 minutes';
  joiner constant uuid := edge_join.user_id;
  code constant text := translate(upper(left(edge_join.share_code, 100)), 'OIL -', '011');
  seen video_sessions_private.share_code_misses;
  session public.video_sessions;
  anonymous boolean;
  joined boolean;
begin
  select is_anonymous into anonymous from auth.users where id = joiner;
  if not found then
    -- The account was deleted a moment ago.
    return '{"outcome": "not_joinable"}';
  end if;
  if anonymous and not edge_join.allow_anonymous then
    return '{"outcome": "anonymous"}';
  end if;
  insert into video_sessions_private.share_code_misses (user_id, misses, window_started_at) values (joiner, 0, now())
  on conflict (user_id) do update set
    misses = case
      when share_code_misses.window_started_at < now() - window_length then 0 else share_code_misses.misses
    end,
    window_started_at = case
      when share_code_misses.window_started_at < now() - window_length then now()
      else share_code_misses.window_started_at
    end
  returning * into seen;
  if seen.misses >= max_misses then
    return jsonb_build_object(
      'outcome', 'too_many_attempts', 'retry_after_seconds',
      greatest(1, ceil(extract(epoch from seen.window_started_at + window_length - now()))::integer)
    );
  end if;

  select v.* into session from public.video_session_invites invite
  join public.video_sessions v on v.id = invite.session_id
  where invite.share_code = code;
  joined := exists (
    select from public.video_session_participants where session_id = session.id and user_id = joiner
  );
  if session.id is not null and (joined or video_sessions_private.may_join(session, joiner)) then
    if edge_join.preview then
      return jsonb_build_object('outcome', 'preview', 'session', jsonb_build_object(
        'title', session.title, 'host_name', public.video_session_display_name(session.host_id),
        'scheduled_start', session.scheduled_start, 'timezone', session.timezone,
        'duration_minutes', session.duration_minutes, 'joined', joined,
        'seats_left', greatest(0, session.max_participants - (
          select count(*) from public.video_session_participants where session_id = session.id
        ))
      ));
    end if;
    if not joined then
      select v.* into session from public.video_sessions v where v.id = session.id for no key update;
      joined := exists (
        select from public.video_session_participants where session_id = session.id and user_id = joiner
      );
      if not joined and exists (
        select from public.video_session_invites where session_id = session.id and share_code = code
      ) and video_sessions_private.may_join(session, joiner) then
        -- For the feed: this person came by the code, nobody invited them.
        perform set_config('video_sessions.joining', joiner::text, true);
        insert into public.video_session_participants (session_id, user_id) values (session.id, joiner);
        joined := true;
      end if;
    end if;
    if joined then
      return jsonb_build_object('outcome', 'joined', 'session', video_sessions_private.session_as_json(session));
    end if;
  end if;
  update video_sessions_private.share_code_misses set misses = misses + 1 where user_id = joiner;
  return '{"outcome": "not_joinable"}';
end
$$;

-- 135_feed.sql

-- What happened, for the app's own notifications and for pages that stay fresh: one row for each user concerned, by
-- triggers, whoever makes the change. Rows stay for thirty days.

create table public.video_session_events (
  id bigint generated by default as identity primary key,
  -- Without foreign keys: an event outlives its session, and is written while a session goes.
  session_id uuid,
  user_id uuid not null,
  kind text not null check (kind in (
    'created', 'invited', 'removed', 'joined', 'left', 'moved', 'renamed', 'changed', 'started', 'ended', 'cancelled',
    'connection_ended'
  )),
  details jsonb not null default '{}',
  created_at timestamptz not null default now()
);
create index video_session_events_user_id_idx on public.video_session_events (user_id, id);
create index video_session_events_created_at_idx on public.video_session_events (created_at);
comment on table public.video_session_events is
  'What happened, one row for each user concerned, kept for thirty days. Never holds a link, a code or a token.';
comment on column public.video_session_events.session_id is 'Null for an event about a Zoom connection.';
comment on column public.video_session_events.user_id is 'Whom it concerns. details.by is the user who did it.';

-- The host of a session and everybody who takes part.
create function video_sessions_private.people_of(session public.video_sessions) returns setof uuid
language sql stable set search_path = ''
as $$
  select session.host_id
  union
  select user_id from public.video_session_participants where session_id = session.id
$$;

-- What every event of a session carries. `by` is null where Zoom, the clock or the app's own server did it.
create function video_sessions_private.event_details(session public.video_sessions) returns jsonb
language sql stable set search_path = ''
as $$
  select jsonb_build_object(
    'title', session.title, 'scheduled_start', session.scheduled_start, 'timezone', session.timezone,
    'by', case when video_sessions_private.is_app() then auth.uid() end
  )
$$;

create function video_sessions_private.tell_of_session() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  common constant jsonb := video_sessions_private.event_details(new);
  was jsonb;
  fields jsonb;
begin
  if tg_op = 'INSERT' then
    insert into public.video_session_events (session_id, user_id, kind, details)
    values (new.id, new.host_id, 'created', common);
    return null;
  end if;
  was := jsonb_build_object(
    'title', old.title, 'scheduled_start', old.scheduled_start, 'duration_minutes', old.duration_minutes
  );
  insert into public.video_session_events (session_id, user_id, kind, details)
  select new.id, person, happened.kind, common || happened.more
  from video_sessions_private.people_of(new) as person
  cross join (
    select 'cancelled' as kind, '{}'::jsonb as more where new.status = 'cancelled' and old.status <> 'cancelled'
    union all
    select 'ended', jsonb_build_object('held', new.started_at is not null)
    where new.status = 'ended' and old.status <> 'ended'
    union all
    select 'started', '{}'
    where new.status = 'scheduled' and new.started_at is not null and new.ended_at is null
      and not (old.status = 'scheduled' and old.started_at is not null and old.ended_at is null)
    union all
    select 'moved', jsonb_build_object('duration_minutes', new.duration_minutes, 'was', was)
    where new.status = 'scheduled'
      and (new.scheduled_start, new.duration_minutes) is distinct from (old.scheduled_start, old.duration_minutes)
    union all
    select 'renamed', jsonb_build_object('was', was) where new.status = 'scheduled' and new.title <> old.title
  ) as happened;
  if not found then
    -- Nothing that people are told of, but pages show it.
    select jsonb_agg(after.key order by after.key) into fields
    from jsonb_each(to_jsonb(new)) as after
    where after.value is distinct from to_jsonb(old) -> after.key and after.key <> 'updated_at';
    insert into public.video_session_events (session_id, user_id, kind, details)
    select new.id, person, 'changed', common || jsonb_build_object('fields', fields)
    from video_sessions_private.people_of(new) as person
    where fields is not null;
  end if;
  return null;
end
$$;
create trigger tell_of_session after insert or update on public.video_sessions
for each row execute function video_sessions_private.tell_of_session();

-- Before the row goes, while it is known who takes part.
create function video_sessions_private.tell_of_deleted_session() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  if old.status = 'scheduled' then
    insert into public.video_session_events (session_id, user_id, kind, details)
    select old.id, person, 'cancelled', video_sessions_private.event_details(old) || '{"deleted": true}'
    from video_sessions_private.people_of(old) as person
    -- Not to a host whose account is what goes.
    where person <> old.host_id or exists (select from auth.users where id = old.host_id);
  end if;
  return old;
end
$$;
create trigger tell_of_deleted_session before delete on public.video_sessions
for each row execute function video_sessions_private.tell_of_deleted_session();

-- Somebody comes or goes: the person and the host are told. `edge_join` says so by a setting when somebody comes by a
-- code; all others were invited.
create function video_sessions_private.tell_of_participant() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  seat constant public.video_session_participants := coalesce(new, old);
  session public.video_sessions;
  person_did_it constant boolean := seat.user_id = auth.uid()
    or current_setting('video_sessions.joining', true) = seat.user_id::text;
  what text := case when person_did_it then 'joined' else 'invited' end;
begin
  if seat.role = 'host' then
    return null;
  end if;
  -- The whole session goes, of which its people are told once.
  select * into session from public.video_sessions where id = seat.session_id;
  if not found then
    return null;
  end if;
  if tg_op = 'DELETE' then
    -- A person whose account goes has left, too.
    what := case
      when person_did_it or not exists (select from auth.users where id = seat.user_id) then 'left'
      else 'removed'
    end;
  end if;
  insert into public.video_session_events (session_id, user_id, kind, details)
  select session.id, person, what, video_sessions_private.event_details(session)
    || jsonb_build_object('person_id', seat.user_id)
  from unnest(array[session.host_id, seat.user_id]) as person
  where exists (select from auth.users where id = person);
  return null;
end
$$;
create trigger tell_of_participant after insert or delete on public.video_session_participants
for each row execute function video_sessions_private.tell_of_participant();

-- A connection has ended: the host has to connect again, and should hear of it before the next session.
create function video_sessions_private.tell_of_connection() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  if old.account_deleted_at is null then
    insert into public.video_session_events (user_id, kind, details)
    values (old.user_id, 'connection_ended', jsonb_build_object(
      'reason', case when tg_op = 'UPDATE' then new.expired_reason else 'disconnected' end,
      'zoom_account_email', old.zoom_account_email
    ));
  end if;
  return null;
end
$$;
create trigger tell_of_expired_connection after update on public.user_integrations_zoom
for each row when (old.status = 'connected' and new.status = 'expired')
execute function video_sessions_private.tell_of_connection();
create trigger tell_of_deleted_connection after delete on public.user_integrations_zoom
for each row when (old.status = 'connected')
execute function video_sessions_private.tell_of_connection();

-- The feed of an account goes with it.
create function video_sessions_private.forget_events() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  delete from public.video_session_events where user_id = old.id;
  return null;
end
$$;
create trigger video_sessions_forget_events after delete on auth.users
for each row execute function video_sessions_private.forget_events();

-- Supabase Realtime, where the project has it. The only table of ours there: deletions are broadcast past row-level
-- security, and here they tell nothing but a number.
do $publication$
begin
  if exists (select from pg_catalog.pg_publication where pubname = 'supabase_realtime' and not puballtables) then
    alter publication supabase_realtime add table public.video_session_events;
  end if;
end
$publication$;

-- 138_health.sql

-- How an installation is: what `video-sessions doctor` and an operator's daily look ask for.

-- The release that this schema belongs to.
create function video_sessions_private.version() returns text
language sql immutable set search_path = ''
as $$ select '0.1.0' $$;

-- When zoom-sync ran last: one row.
create table video_sessions_private.clock (
  only_row boolean primary key default true check (only_row),
  ran_at timestamptz not null
);

-- What the installation had to say, line by line: the CLI and the dashboard's editor show no notices.
create table video_sessions_private.installation (
  number integer generated always as identity primary key,
  line text not null
);

-- doctor: counts and ages, nothing of anybody's.
create function public.edge_health() returns jsonb
language sql stable security definer set search_path = ''
as $$
  select jsonb_build_object(
    'version', video_sessions_private.version(),
    'seconds_since_sync',
    (select floor(extract(epoch from now() - ran_at))::integer from video_sessions_private.clock),
    'dead_letters', (select count(*) from video_sessions_private.zoom_outbox where dead_at is not null),
    'late_changes', (
      select count(*) from video_sessions_private.zoom_outbox task
      join public.user_integrations_zoom connection on connection.user_id = task.user_id
        and connection.status = 'connected'
        and connection.zoom_user_id = coalesce(task.zoom_user_id, connection.zoom_user_id)
      where task.dead_at is null and task.next_attempt_at < now() - interval '10 minutes'
        and (
          task.kind = 'delete' or connection.daily_limit_until is null or connection.daily_limit_until <= now()
        )
    ),
    'open_creations', (
      select count(*) from video_sessions_private.session_creations
      where state in ('running', 'unknown') and created_at < now() - interval '15 minutes'
    ),
    'late_revocation', (
      select count(*) from video_sessions_private.zoom_revocations where created_at < now() - interval '15 minutes'
    )
  )
$$;

-- 140_purge.sql

-- What has run out is removed, what time has changed is written down, and what zoom-sync has to do is said.

-- Outbox rows whose host never came back to Zoom.
create function video_sessions_private.changes_nobody_sends() returns setof bigint
language sql stable security definer set search_path = ''
as $$
  select id from video_sessions_private.zoom_outbox task
  where created_at < now() - interval '90 days' and not exists (
    select from public.user_integrations_zoom where user_id = task.user_id and status = 'connected'
  )
$$;

-- zoom-sync: removes what has run out, a thousand rows of each kind at most, and settles the sessions that are over by
-- now. `more`: there may be more.
create function public.edge_purge() returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  start_urls integer;
  removed integer;
  most integer := 0;
  settled jsonb;
begin
  delete from public.video_session_host_meta where session_id in (
    select session_id from public.video_session_host_meta where expires_at <= now() limit 1000 for update skip locked
  );
  get diagnostics start_urls = row_count;
  delete from video_sessions_private.zoom_oauth_states where state_hash in (
    select state_hash from video_sessions_private.zoom_oauth_states where expires_at < now() - interval '1 day' limit 1000
    for update skip locked
  );
  get diagnostics removed = row_count;
  most := greatest(most, removed);
  delete from video_sessions_private.revocation_echoes where id in (
    select id from video_sessions_private.revocation_echoes where expected_at < now() - interval '1 day' limit 1000
    for update skip locked
  );
  get diagnostics removed = row_count;
  most := greatest(most, removed);
  delete from video_sessions_private.session_creations where id in (
    select id from video_sessions_private.session_creations where closed_at < now() - interval '7 days' limit 1000
    for update skip locked
  );
  get diagnostics removed = row_count;
  most := greatest(most, removed);
  delete from video_sessions_private.webhook_events where event_id in (
    select event_id from video_sessions_private.webhook_events where received_at < now() - interval '7 days' limit 1000
    for update skip locked
  );
  get diagnostics removed = row_count;
  most := greatest(most, removed);
  update video_sessions_private.webhook_events set details = null where event_id in (
    select event_id from video_sessions_private.webhook_events
    where details is not null and received_at < now() - interval '1 day' limit 1000
    for update skip locked
  );
  get diagnostics removed = row_count;
  most := greatest(most, removed);
  delete from video_sessions_private.share_code_misses where user_id in (
    select user_id from video_sessions_private.share_code_misses where window_started_at < now() - interval '1 day'
    limit 1000 for update skip locked
  );
  get diagnostics removed = row_count;
  most := greatest(most, removed);
  delete from video_sessions_private.quota_uses where (user_id, quota) in (
    select user_id, quota from video_sessions_private.quota_uses where window_started_at < now() - interval '1 day'
    limit 1000 for update skip locked
  );
  get diagnostics removed = row_count;
  most := greatest(most, removed);
  delete from public.video_session_events where id in (
    select id from public.video_session_events where created_at < now() - interval '30 days' limit 1000
    for update skip locked
  );
  get diagnostics removed = row_count;
  most := greatest(most, removed);
  -- Revoking has failed for a week, though it is tried every other minute: the tokens have to go all the same.
  delete from video_sessions_private.zoom_revocations where id in (
    select id from video_sessions_private.zoom_revocations where created_at < now() - interval '7 days' limit 1000
    for update skip locked
  );
  get diagnostics removed = row_count;
  most := greatest(most, removed);
  delete from video_sessions_private.zoom_outbox where id in (
    select * from video_sessions_private.changes_nobody_sends() limit 1000
  );
  get diagnostics removed = row_count;
  settled := public.edge_sessions_settle(500);
  return jsonb_build_object(
    'start_urls', start_urls, 'sessions', settled -> 'settled',
    'more', greatest(most, removed, start_urls) >= 1000 or (settled -> 'more')::boolean
  );
end
$$;

-- zoom-sync, first: what there is to do, part by part. An idle run asks nothing else.
create function public.edge_sync_due() returns jsonb
language sql security definer set search_path = ''
as $$
  insert into video_sessions_private.clock (ran_at) values (now())
  on conflict (only_row) do update set ran_at = excluded.ran_at;
  select jsonb_build_object(
    'outbox', exists (
      select from video_sessions_private.zoom_outbox
      where dead_at is null and greatest(next_attempt_at, claimed_until) <= now()
    ),
    'creations', exists (
      select from video_sessions_private.session_creations
      where state in ('running', 'unknown') and next_check_at <= now()
    ),
    'revocations', exists (select from video_sessions_private.zoom_revocations where claimed_until <= now())
      or exists (select from video_sessions_private.pending_connections where expires_at <= now())
      or exists (select from video_sessions_private.connections_leaving()),
    'connections', exists (select from video_sessions_private.connections_due()),
    'purge', exists (select from public.video_session_host_meta where expires_at <= now())
      or exists (select from video_sessions_private.session_life where next_at <= now())
      or exists (select from video_sessions_private.zoom_oauth_states where expires_at < now() - interval '1 day')
      or exists (
        select from video_sessions_private.revocation_echoes where expected_at < now() - interval '1 day'
      )
      or exists (select from public.video_session_events where created_at < now() - interval '30 days')
      or exists (select from video_sessions_private.session_creations where closed_at < now() - interval '7 days')
      or exists (select from video_sessions_private.webhook_events where received_at < now() - interval '7 days')
      or exists (
        select from video_sessions_private.webhook_events
        where details is not null and received_at < now() - interval '1 day'
      )
      or exists (
        select from video_sessions_private.share_code_misses where window_started_at < now() - interval '1 day'
      )
      or exists (select from video_sessions_private.quota_uses where window_started_at < now() - interval '1 day')
      or exists (select from video_sessions_private.zoom_revocations where created_at < now() - interval '7 days')
      or exists (select from video_sessions_private.changes_nobody_sends()),
    'watch', exists (select from video_sessions_private.watched_sessions where ask_at <= now())
      or exists (select from video_sessions_private.watched_hosts where list_at <= now())
  )
$$;

-- 150_access.sql

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

-- 160_schedule.sql

-- Runs zoom-sync every minute on Supabase, where pg_cron and pg_net exist; does nothing elsewhere (on Cloudflare a cron
-- trigger runs it). It takes the functions' address and a secret key from Vault, and stays silent until both are there:
--
--   select vault.create_secret('https://<project-ref>.supabase.co/functions/v1', 'video_sessions_functions_url');
--   select vault.create_secret('sb_secret_…', 'video_sessions_secret_key');

do $migration$
begin
  if (select count(*) from pg_catalog.pg_available_extensions where name in ('pg_cron', 'pg_net')) < 2
    or to_regclass('vault.decrypted_secrets') is null
  then
    return;
  end if;
  create extension if not exists pg_cron;
  create extension if not exists pg_net;

  create function video_sessions_private.run_zoom_sync() returns void
  language plpgsql security definer set search_path = ''
  as $function$
  declare
    functions_url constant text :=
      (select decrypted_secret from vault.decrypted_secrets where name = 'video_sessions_functions_url');
    secret_key constant text :=
      (select decrypted_secret from vault.decrypted_secrets where name = 'video_sessions_secret_key');
  begin
    if functions_url is not null and secret_key is not null then
      perform net.http_post(
        url := rtrim(functions_url, '/') || '/zoom-sync',
        body := '{}'::jsonb,
        headers := jsonb_build_object('content-type', 'application/json', 'apikey', secret_key),
        timeout_milliseconds := 55000
      );
    end if;
  end
  $function$;
  revoke execute on function video_sessions_private.run_zoom_sync from public, anon, authenticated, service_role;

  perform cron.schedule('video-sessions-zoom-sync', '* * * * *', 'select video_sessions_private.run_zoom_sync()');
  -- pg_cron keeps a line of every run, for ever.
  perform cron.schedule(
    'video-sessions-cron-history', '17 3 * * *',
    'delete from cron.job_run_details where end_time < now() - interval ''2 days'' and jobid in (
      select jobid from cron.job where jobname like ''video-sessions-%''
    )'
  );
end
$migration$;
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
