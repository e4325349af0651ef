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
