//! What tests do to the whole database at once: let time pass in it, and read all of it.

use anyhow::{ensure, Context, Result};
use chrono::TimeDelta;
use tokio_postgres::Client;

/// Moves every instant in a JSON value, in the form that it has: `2026-03-01T12:00:00Z` or `…+00:00`.
const EARLIER_JSON: &str = r"
create function pg_temp.earlier(value jsonb, by interval) returns jsonb language plpgsql as $$
begin
  case jsonb_typeof(value)
    when 'object' then
      return (select coalesce(jsonb_object_agg(key, pg_temp.earlier(field, by)), '{}') from jsonb_each(value) as f (key, field));
    when 'array' then
      return (select coalesce(jsonb_agg(pg_temp.earlier(item, by) order by place), '[]')
              from jsonb_array_elements(value) with ordinality as i (item, place));
    when 'string' then
      if value #>> '{}' !~ '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)$' then
        return value;
      end if;
      return to_jsonb(
        case when value #>> '{}' like '%Z' then replace(moved, '+00:00', 'Z') else moved end)
        from (select to_jsonb((value #>> '{}')::timestamptz - by) #>> '{}' as moved) as m;
    else
      return value;
  end case;
end $$";

/// One statement for each table of ours that holds instants.
const STATEMENTS: &str = r"
select format('update %I.%I set %s', n.nspname, c.relname, string_agg(
  format(case a.atttypid when 'jsonb'::regtype then '%1$I = pg_temp.earlier(%1$I, %2$L)' else '%1$I = %1$I - %2$L::interval' end,
    a.attname, $1::text), ', '))
from pg_class as c
join pg_namespace as n on n.oid = c.relnamespace
join pg_attribute as a on a.attrelid = c.oid
where n.nspname in ('public', 'video_sessions_private') and c.relkind in ('r', 'p') and not c.relispartition
  and a.attnum > 0 and not a.attisdropped and a.attgenerated = '' and a.atttypid in ('timestamptz'::regtype, 'jsonb'::regtype)
group by n.nspname, c.relname
order by n.nspname, c.relname";

/// Lets time pass: moves every instant in `public` and `video_sessions_private`, those in JSON too, into the past. No
/// trigger takes notice. `admin` is a connection of the superuser's that is used for nothing after this. `elsewhere` is
/// called when all of it is about to be seen, and no row that it moves can be written meanwhile.
pub(crate) async fn let_time_pass(mut admin: Client, by: TimeDelta, elsewhere: impl FnOnce()) -> Result<()> {
    ensure!(
        by >= TimeDelta::zero() && by.subsec_nanos() == 0,
        "time passes forward, by whole seconds"
    );
    let transaction = admin.transaction().await?;
    transaction
        .batch_execute("set local session_replication_role = replica; set local time zone 'UTC'")
        .await?;
    transaction.batch_execute(EARLIER_JSON).await?;
    let interval = format!("{} seconds", by.num_seconds());
    for row in transaction.query(STATEMENTS, &[&interval]).await? {
        let statement: String = row.get(0);
        transaction
            .execute(&statement, &[])
            .await
            .with_context(|| statement.clone())?;
    }
    elsewhere();
    Ok(transaction.commit().await?)
}

/// Every row of every table in `public` and `video_sessions_private`, as lines of JSON under the table's name.
pub(crate) async fn dump(admin: &Client) -> Result<String> {
    let tables = "select format('%I.%I', n.nspname, c.relname)
                  from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
                  where n.nspname in ('public', 'video_sessions_private') and c.relkind in ('r', 'p') and not c.relispartition
                  order by 1";
    let mut dump = String::new();
    for row in admin.query(tables, &[]).await? {
        let table: String = row.get(0);
        let rows = admin
            .query(&format!("select to_jsonb(t)::text from {table} as t"), &[])
            .await?;
        dump += &format!("{table}\n");
        for row in rows {
            dump += row.get(0);
            dump.push('\n');
        }
    }
    Ok(dump)
}
