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
