//! PostgreSQL 17 with Supabase's base schema, the migrations and the seed, as the Supabase CLI would set it up.
//!
//! Setting up takes seconds, so a finished data directory is kept in the user's cache, under a hash of all that went
//! into it, and a stack starts on a copy.

use std::fs::{self, File};
use std::os::unix::fs::{chown, symlink, DirBuilderExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{bail, Context, Result};
use chrono::Utc;
use ring::digest;
use rustix::process::Signal;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::places;
use crate::processes::{Process, Processes};

/// The account without rights that runs PostgreSQL where we are root, which it refuses to be: `nobody`.
const NOBODY: u32 = 65534;

/// Counted up when the way a template is built changes.
const TEMPLATE_FORMAT: u8 = 1;

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A running server and how to reach it.
pub(crate) struct Postgres {
    pub(crate) port: u16,
    /// Of the roles `postgres` and `authenticator`, for connections over TCP.
    pub(crate) password: String,
    socket_dir: PathBuf,
}

impl Postgres {
    /// Starts a server with everything applied; `before_migrations` is SQL that finds the bare platform. Without
    /// `migrate`, that is all that is applied.
    pub(crate) async fn start(processes: &Processes, before_migrations: &str, migrate: bool) -> Result<Self> {
        let binaries = Binaries::find(processes.run_dir())?;
        let dir = processes.run_dir().join("postgres");
        fs::DirBuilder::new().mode(0o700).create(&dir)?;
        give_to_server(&dir)?;
        let data = dir.join("data");

        let sources = Sources::read(before_migrations, migrate)?;
        let cache = places::cache_dir()?;
        let template = cache.join(format!("database-{}", sources.key(&binaries.version)));
        // One stack at a time looks for the template, so that only the first of many builds it.
        let lock = File::create(cache.join("lock"))?;
        let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await??;
        if template.is_dir() {
            copy_tree(&template, &data, Owner::Server)?;
            // Marks it as used: `prune` goes by this.
            File::open(&template)?.set_modified(Utc::now().into())?;
        } else {
            initdb(&binaries, &data)?;
            let (server, process) = Self::run(processes, &binaries, &dir, Listen::SocketOnly).await?;
            sources.apply(&server).await?;
            process.signal(Signal::INT)?; // fast shutdown
            process.wait().await?;
            let unfinished = cache.join(format!("unfinished-{}", Uuid::new_v4().simple()));
            copy_tree(&data, &unfinished, Owner::Us)?;
            fs::rename(&unfinished, &template)?;
            prune(&cache, &template)?;
        }
        drop(lock);

        let (server, _) = Self::run(processes, &binaries, &dir, Listen::Loopback).await?;
        let client = server.connect("supabase_admin").await?;
        for role in ["postgres", "authenticator"] {
            let set = format!("alter role {role} login password '{}'", server.password);
            client
                .batch_execute(&set)
                .await
                .with_context(|| format!("setting the password of {role}"))?;
        }
        Ok(server)
    }

    /// Starts the server process on the data directory and waits until it takes connections.
    async fn run(processes: &Processes, binaries: &Binaries, dir: &Path, listen: Listen) -> Result<(Self, Process)> {
        let server = Self {
            port: places::free_port()?,
            password: Uuid::new_v4().simple().to_string(),
            socket_dir: dir.to_owned(),
        };
        let mut command = binaries.command("postgres", dir);
        command.arg("-D").arg(dir.join("data"));
        let addresses = match listen {
            Listen::Loopback => "127.0.0.1",
            Listen::SocketOnly => "",
        };
        let settings = [
            ("port", server.port.to_string()),
            ("listen_addresses", addresses.to_owned()),
            ("unix_socket_directories", dir.display().to_string()),
            ("unix_socket_permissions", "0700".to_owned()),
            ("max_connections", "200".to_owned()),
            ("shared_buffers", "64MB".to_owned()),
            // Files in the data directory, which is removed, instead of segments under /dev/shm, which would stay.
            ("dynamic_shared_memory_type", "mmap".to_owned()),
            // The data lives no longer than the server.
            ("fsync", "off".to_owned()),
            ("synchronous_commit", "off".to_owned()),
            ("full_page_writes", "off".to_owned()),
            ("wal_level", "minimal".to_owned()),
            ("max_wal_senders", "0".to_owned()),
            ("timezone", "UTC".to_owned()),
            ("log_line_prefix", String::new()),
            ("log_checkpoints", "off".to_owned()),
        ];
        for (name, value) in settings {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        let process = processes.spawn("postgres", command, "QUIT", |_| ())?;
        let ready = async {
            while server.connect("supabase_admin").await.is_err() && process.ended().is_none() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let in_time = tokio::time::timeout(START_TIMEOUT, ready).await.is_ok();
        if !in_time || process.ended().is_some() {
            return Err(process.not_ready());
        }
        Ok((server, process))
    }

    /// A connection over the socket in the server's own directory, where any role gets in.
    pub(crate) async fn connect(&self, role: &str) -> Result<Client> {
        let mut config = tokio_postgres::Config::new();
        config
            .host_path(&self.socket_dir)
            .port(self.port)
            .user(role)
            .dbname("postgres");
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// A connection string for `role` (`postgres` or `authenticator`).
    pub(crate) fn url(&self, role: &str) -> String {
        format!("postgresql://{role}:{}@127.0.0.1:{}/postgres", self.password, self.port)
    }
}

enum Listen {
    Loopback,
    SocketOnly,
}

/// PostgreSQL's programs, at a path that its account can reach.
struct Binaries {
    dir: PathBuf,
    version: String,
}

impl Binaries {
    fn find(run_dir: &Path) -> Result<Self> {
        let arch = match std::env::consts::ARCH {
            "x86_64" => "x64",
            "aarch64" => "arm64",
            other => bail!("there is no embedded PostgreSQL for {other}"),
        };
        let os = match std::env::consts::OS {
            "linux" => "linux",
            "macos" => "darwin",
            other => bail!("there is no embedded PostgreSQL for {other}"),
        };
        let package = places::npm_package(&format!("@embedded-postgres/{os}-{arch}"))?;
        let manifest: serde_json::Value = serde_json::from_slice(&fs::read(package.join("package.json"))?)?;
        let version = manifest["version"]
            .as_str()
            .context("the package's version")?
            .to_owned();
        let native = package.join("native").canonicalize()?;

        let postgres = native.join("bin/postgres");
        let readable = fs::metadata(&postgres)?.permissions().mode() & 0o005 == 0o005;
        let dir = if !places::we_are_root() || (readable && places::open_to_all(&postgres)) {
            native
        } else {
            // A clone in root's home: give the server a way around the closed directories above it.
            let copy = run_dir.join("postgresql");
            copy_tree(&native, &copy, Owner::Everybody)?;
            copy
        };
        Ok(Self { dir, version })
    }

    /// A command that runs as the server's account, with nothing of our environment: `PGPORT` and its like change much.
    fn command(&self, program: &str, dir: &Path) -> Command {
        let mut command = Command::new(self.dir.join("bin").join(program));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LC_ALL", "C")
            .current_dir(dir);
        if places::we_are_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }
}

fn initdb(binaries: &Binaries, data: &Path) -> Result<()> {
    let dir = data.parent().context("a data directory has a parent")?;
    let output = binaries
        .command("initdb", dir)
        .arg("-D")
        .arg(data)
        .args(["--username=supabase_admin", "--auth=trust", "--encoding=UTF8"])
        .args(["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"])
        .args(["--wal-segsize=1", "--no-sync", "--no-instructions"])
        .stdin(Stdio::null())
        .output()
        .context("running initdb")?;
    if !output.status.success() {
        bail!("initdb: {}", String::from_utf8_lossy(&output.stderr));
    }
    // The socket lies in a directory that only the server's account and we can enter.
    let access = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
    fs::write(data.join("pg_hba.conf"), access).context("writing pg_hba.conf")
}

/// The SQL that makes the database.
struct Sources {
    platform: SqlFile,
    before_migrations: SqlFile,
    migrations: Vec<SqlFile>,
    seed: Option<SqlFile>,
}

struct SqlFile {
    name: String,
    text: String,
}

impl Sources {
    fn read(before_migrations: &str, migrate: bool) -> Result<Self> {
        let supabase = places::repository().join("supabase");
        let mut paths = Vec::new();
        for entry in fs::read_dir(supabase.join("migrations")).context("supabase/migrations")? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "sql") {
                paths.push(path);
            }
        }
        paths.sort();
        paths.retain(|_| migrate);
        let seed = SqlFile::read(&supabase.join("seed.sql"))?;
        Ok(Self {
            platform: SqlFile::read(&places::repository().join("tests/sql/platform.sql"))?,
            before_migrations: SqlFile {
                name: "before_migrations".to_owned(),
                text: before_migrations.to_owned(),
            },
            migrations: paths.iter().map(|path| SqlFile::read(path)).collect::<Result<_>>()?,
            seed: migrate.then_some(seed),
        })
    }

    /// Names the template: a hash of everything that shapes it.
    fn key(&self, postgres_version: &str) -> String {
        let mut hash = digest::Context::new(&digest::SHA256);
        let mut part = |text: &str| {
            hash.update(&text.len().to_be_bytes());
            hash.update(text.as_bytes());
        };
        part(&format!("{TEMPLATE_FORMAT} {postgres_version}"));
        let first = [&self.platform, &self.before_migrations];
        for file in first.into_iter().chain(&self.seed).chain(&self.migrations) {
            part(&file.name);
            part(&file.text);
        }
        hash.finish().as_ref()[..10]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Applies all of it. The platform's part belongs to its superuser, the rest to the role `postgres`.
    async fn apply(&self, server: &Postgres) -> Result<()> {
        let admin = server.connect("supabase_admin").await?;
        self.platform.apply(&admin, "").await?;
        let postgres = server.connect("postgres").await?;
        self.before_migrations.apply(&postgres, "").await?;
        if self.migrations.is_empty() {
            return Ok(());
        }
        postgres
            .batch_execute(
                "create schema if not exists supabase_migrations;
                 create table if not exists supabase_migrations.schema_migrations
                   (version text not null primary key, statements text[], name text)",
            )
            .await
            .context("creating supabase_migrations.schema_migrations")?;
        for migration in &self.migrations {
            let stem = migration.name.trim_end_matches(".sql");
            let (version, name) = stem
                .split_once('_')
                .with_context(|| format!("{}: a migration is named <version>_<name>.sql", migration.name))?;
            if version.len() != 14 || !version.bytes().all(|b| b.is_ascii_digit()) {
                bail!("{}: a version is 14 digits, YYYYMMDDhhmmss", migration.name);
            }
            // One message is one transaction: a migration is applied and recorded whole or not at all.
            let record = format!(
                "insert into supabase_migrations.schema_migrations (version, name) values ('{version}', '{name}')"
            );
            migration.apply(&postgres, &record).await?;
        }
        match &self.seed {
            Some(seed) => seed.apply(&postgres, "").await,
            None => Ok(()),
        }
    }
}

impl SqlFile {
    fn read(path: &Path) -> Result<Self> {
        let name = path.file_name().context("a file name")?.to_string_lossy().into_owned();
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Ok(Self { name, text })
    }

    /// Runs the file and `then` in one transaction.
    async fn apply(&self, client: &Client, then: &str) -> Result<()> {
        let sql = format!("{}\n;{then}", self.text.trim_end());
        client.batch_execute(&sql).await.map_err(|error| {
            let line = match error.as_db_error().and_then(|e| e.position()) {
                Some(tokio_postgres::error::ErrorPosition::Original(at)) => {
                    let before = sql.chars().take(*at as usize);
                    format!(" line {}", before.filter(|c| *c == '\n').count() + 1)
                }
                _ => String::new(),
            };
            let detail = error.as_db_error().map(ToString::to_string).unwrap_or_default();
            anyhow::Error::new(error).context(format!("{}{line}: {detail}", self.name))
        })
    }
}

enum Owner {
    Us,
    /// The account that PostgreSQL runs as.
    Server,
    /// Ours, and readable by all.
    Everybody,
}

/// Copies a directory with all that is in it.
fn copy_tree(from: &Path, to: &Path, owner: Owner) -> Result<()> {
    fn copy(from: &Path, to: &Path, owner: &Owner) -> Result<()> {
        let metadata = fs::symlink_metadata(from)?;
        if metadata.is_symlink() {
            return Ok(symlink(fs::read_link(from)?, to)?);
        }
        if metadata.is_dir() {
            fs::DirBuilder::new().mode(0o700).create(to)?;
            for entry in fs::read_dir(from)? {
                let name = entry?.file_name();
                copy(&from.join(&name), &to.join(&name), owner)?;
            }
        } else {
            fs::copy(from, to)?;
        }
        match owner {
            Owner::Us => {}
            Owner::Server => give_to_server(to)?,
            Owner::Everybody => {
                fs::set_permissions(to, fs::Permissions::from_mode(metadata.permissions().mode() | 0o555))?
            }
        }
        Ok(())
    }
    copy(from, to, &owner).with_context(|| format!("copying {} to {}", from.display(), to.display()))
}

fn give_to_server(path: &Path) -> Result<()> {
    if places::we_are_root() {
        chown(path, Some(NOBODY), Some(NOBODY))?;
    }
    Ok(())
}

/// Removes templates, and leftovers of interrupted copies, that nobody used for a week.
fn prune(cache: &Path, keep: &Path) -> Result<()> {
    const UNUSED: Duration = Duration::from_secs(7 * 24 * 3600);
    for entry in fs::read_dir(cache)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let ours = name.starts_with("database-") || name.starts_with("unfinished-");
        let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
        if ours && entry.path() != keep && age > UNUSED {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}
