//! A database's schema as data, to be compared.

use std::collections::BTreeMap;

use anyhow::Result;
use tokio_postgres::Client;

/// Everything in `public` and `video_sessions_private`, and what of ours hangs on other schemas: kind, object, name,
/// definition.
pub const CATALOG: &str = r#"
with relations as (
  select c.*, n.nspname || '.' || c.relname as object
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where n.nspname in ('public', 'video_sessions_private') and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f') or c.oid = 'auth.users'::regclass
)
select 'relation' as kind, object, ''::text as name, concat_ws(
  ' ', relkind, relpersistence, relreplident, relrowsecurity, relforcerowsecurity, relowner::regrole, reloptions,
  array(select acl::text from unnest(relacl) acl order by 1), obj_description(oid, 'pg_class'),
  case when relkind in ('v', 'm') then pg_get_viewdef(oid) end
) as definition
from relations
union all
select 'column', object, attname, concat_ws(
  ' ', format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated, attcollation::regcollation,
  pg_get_expr(adbin, adrelid), array(select acl::text from unnest(attacl) acl order by 1),
  col_description(relations.oid, attnum)
)
from relations
join pg_catalog.pg_attribute a on attrelid = relations.oid and attnum > 0 and not attisdropped
left join pg_catalog.pg_attrdef d on adrelid = attrelid and adnum = attnum
union all
select 'constraint', object, conname, concat_ws(
  ' ', contype, pg_get_constraintdef(c.oid), convalidated, condeferrable, condeferred, obj_description(c.oid, 'pg_constraint')
)
from relations join pg_catalog.pg_constraint c on conrelid = relations.oid
union all
select 'index', relations.object, i.relname, concat_ws(
  ' ', regexp_replace(pg_get_indexdef(i.oid), 'INDEX \S+ ON ', 'INDEX ON '), indisvalid, indisprimary, indisexclusion,
  obj_description(i.oid, 'pg_class')
)
from relations
join pg_catalog.pg_index x on x.indrelid = relations.oid
join pg_catalog.pg_class i on i.oid = x.indexrelid
union all
select 'policy', object, polname, concat_ws(
  ' ', polcmd, polpermissive, polroles::regrole[], pg_get_expr(polqual, polrelid), '->', pg_get_expr(polwithcheck, polrelid)
)
from relations join pg_catalog.pg_policy on polrelid = relations.oid
union all
select 'trigger', object, tgname, concat_ws(' ', pg_get_triggerdef(t.oid), tgenabled)
from relations join pg_catalog.pg_trigger t on tgrelid = relations.oid and not tgisinternal
union all
select 'publication', object, pubname, ''
from relations
join pg_catalog.pg_publication_rel on prrelid = relations.oid
join pg_catalog.pg_publication p on p.oid = prpubid
union all
select 'function', n.nspname || '.' || p.proname, pg_get_function_identity_arguments(p.oid), concat_ws(
  ' ', pg_get_functiondef(p.oid), proowner::regrole, array(select acl::text from unnest(proacl) acl order by 1),
  obj_description(p.oid, 'pg_proc')
)
from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = pronamespace
where n.nspname in ('public', 'video_sessions_private')
union all
select 'type', n.nspname || '.' || t.typname, '', concat_ws(
  ' ', typtype, array(select enumlabel::text from pg_catalog.pg_enum where enumtypid = t.oid order by enumsortorder)
)
from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = typnamespace
where n.nspname in ('public', 'video_sessions_private') and typtype in ('e', 'd', 'r')
union all
select 'schema', nspname, '', concat_ws(' ', nspowner::regrole, array(select acl::text from unnest(nspacl) acl order by 1))
from pg_catalog.pg_namespace where nspname in ('public', 'video_sessions_private')
"#;

/// Kind, object and name to definition.
pub type Catalog = BTreeMap<[String; 3], String>;

/// What the database has by `query`, which is [`CATALOG`] or gives rows of the same kind.
pub async fn catalog(db: &Client, query: &str) -> Result<Catalog> {
    let query = format!("select kind, object, name::text, definition from ({query}) as catalog");
    let rows = db.query(&query, &[]).await?;
    Ok(rows
        .iter()
        .map(|row| ([row.get(0), row.get(1), row.get(2)], row.get(3)))
        .collect())
}
