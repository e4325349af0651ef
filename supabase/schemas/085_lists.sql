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
