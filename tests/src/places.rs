//! Where things lie on this machine: the repository, the cache, a stack's own directory, free ports.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{bail, Context, Result};
use uuid::Uuid;

/// The root of the repository that this crate was built from.
pub fn repository() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests)
}

/// A package that npm installed, relative to `node_modules`.
pub(crate) fn npm_package(name: &str) -> Result<PathBuf> {
    let path = repository().join("node_modules").join(name);
    if !path.is_dir() {
        bail!(
            "{} is missing: `cargo xtask dev` and `cargo xtask test` install it, so does `npm ci`",
            path.display()
        );
    }
    Ok(path)
}

pub(crate) fn we_are_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether an account without any rights can reach `path` through the directories above it.
pub(crate) fn open_to_all(path: &Path) -> bool {
    path.ancestors()
        .skip(1)
        .all(|dir| dir.as_os_str().is_empty() || fs::metadata(dir).is_ok_and(|m| m.mode() & 0o001 != 0))
}

/// A new directory for one stack, private to its user. Root's can be passed through, since PostgreSQL runs as another
/// account there.
pub(crate) fn create_run_dir() -> Result<PathBuf> {
    let root = we_are_root();
    let name = format!("video-sessions-{}", &Uuid::new_v4().simple().to_string()[..12]);
    let mut last_error = None;
    for base in [std::env::temp_dir(), "/tmp".into(), "/var/tmp".into()] {
        let dir = base.join(&name);
        if root && !open_to_all(&dir) {
            continue;
        }
        let mode = if root { 0o711 } else { 0o700 };
        match DirBuilder::new().mode(mode).create(&dir) {
            Ok(()) => {
                // The umask may have taken away what `mode` gives.
                fs::set_permissions(&dir, fs::Permissions::from_mode(mode))?;
                return Ok(dir);
            }
            Err(error) => last_error = Some(anyhow::Error::new(error).context(dir.display().to_string())),
        }
    }
    Err(last_error.unwrap_or_else(|| anyhow::anyhow!("no temporary directory is open to all")))
        .context("creating a directory for the stack")
}

/// Writes a new file that nobody else may read.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<()> {
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
        .with_context(|| format!("writing {}", path.display()))
}

/// This user's cache directory, made if need be: `$XDG_CACHE_HOME` or `~/.cache`, and the temporary directory for a
/// user without a home that can be written to.
pub(crate) fn cache_dir() -> Result<PathBuf> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    if let Some(base) = base {
        let dir = base.join("video-sessions");
        let private = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        if private.is_ok() && File::create(dir.join("lock")).is_ok() {
            return Ok(dir);
        }
    }
    let uid = rustix::process::geteuid().as_raw();
    let dir = std::env::temp_dir().join(format!("video-sessions-cache-{uid}"));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .with_context(|| format!("creating {}", dir.display()))?;
    // Anybody may have made a directory of this name: what lies in it ends up in our database.
    let found = fs::symlink_metadata(&dir)?;
    if !found.is_dir() || found.uid() != uid || found.mode() & 0o077 != 0 {
        bail!("{} is not a private directory of ours", dir.display());
    }
    Ok(dir)
}

/// A port on loopback that nobody listens on, for a child process that has to be told one.
///
/// It lies below the range from which the system serves connections and port 0, and no other stack of this process gets
/// it, so that it is still free by the time the child binds it.
pub(crate) fn free_port() -> Result<u16> {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let given = given.get_or_insert_default();
    for _ in 0..1000 {
        let random = u16::from_be_bytes([Uuid::new_v4().as_bytes()[0], Uuid::new_v4().as_bytes()[1]]);
        let port = 20_000 + random % 12_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() && given.insert(port) {
            return Ok(port);
        }
    }
    bail!("no free port between 20000 and 32000")
}
