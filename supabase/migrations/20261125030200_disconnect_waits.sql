-- A disconnect ends the tokens by which a change could still be told: it has to know that somebody else is telling one.

-- Claims what is due for five minutes: longer than a drain works on what it has claimed. For one user (whose connection is about
-- to end) also what would be tried again later, once; and `busy` says that somebody else is sending more of it. A meeting belongs to the Zoom user that made it: while its host is
-- connected as another one, or not at all, its changes wait.
create or replace function public.outbox_claim(holder uuid, max_rows integer, only_user uuid) returns jsonb
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  task private.zoom_outbox;
  session public.video_sessions;
  meeting private.zoom_meetings;
  desired jsonb;
  tasks jsonb := '[]';
begin
  for task in
    select task.* from private.zoom_outbox task
    join public.user_integrations_zoom connection
      on connection.user_id = task.user_id and connection.status = 'connected'
      and connection.zoom_user_id = coalesce(task.zoom_user_id, connection.zoom_user_id)
      and (connection.cooldown_until is null or connection.cooldown_until <= now())
      and (connection.daily_limit_until is null or connection.daily_limit_until <= now() or task.kind = 'delete')
    where task.dead_at is null and (task.claimed_until is null or task.claimed_until <= now())
      and (outbox_claim.only_user is null or task.user_id = outbox_claim.only_user)
      and (
        task.next_attempt_at <= now()
        or outbox_claim.only_user is not null and task.claimed_by is distinct from outbox_claim.holder
      )
    order by task.next_attempt_at, task.id
    for update of task skip locked
  loop
    exit when jsonb_array_length(tasks) >= outbox_claim.max_rows;
    desired := null;
    if task.kind = 'update' then
      select * into session from public.video_sessions where id = task.session_id;
      select * into meeting from private.zoom_meetings where session_id = task.session_id;
      if session.id is null or session.status <> 'scheduled'
        or (task.claimed_desired is null and not private.differs(session, meeting))
      then
        -- Changed back before anything was sent, or overtaken by what happened in Zoom: there is nothing to tell.
        delete from private.zoom_outbox where id = task.id;
        continue;
      end if;
      desired := jsonb_build_object(
        'title', session.title, 'description', session.description, 'scheduled_start', session.scheduled_start,
        'timezone', session.timezone, 'duration_minutes', session.duration_minutes, 'creation_id', session.id
      );
    end if;
    update private.zoom_outbox set
      claimed_by = outbox_claim.holder, claimed_at = now(), claimed_until = now() + interval '5 minutes',
      claimed_revision = revision, claimed_desired = desired
    where id = task.id;
    tasks := tasks || jsonb_strip_nulls(jsonb_build_object(
      'task_id', task.id, 'user_id', task.user_id, 'meeting_id', task.meeting_id, 'kind', task.kind,
      'desired', desired, 'token', private.peek_token(task.user_id)
    ));
  end loop;
  return jsonb_build_object(
    'tasks', tasks,
    'busy', outbox_claim.only_user is not null and exists (
      select from private.zoom_outbox
      where user_id = outbox_claim.only_user and dead_at is null and claimed_until > now()
        and claimed_by is distinct from outbox_claim.holder
    )
  );
end
$$;
