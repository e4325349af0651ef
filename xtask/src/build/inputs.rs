//! What something is built from, as a hash: to know that there is nothing to do.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use ring::digest;

/// A hash in the making.
pub struct Inputs(digest::Context);

impl Default for Inputs {
    fn default() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }
}

impl Inputs {
    /// Adds a text.
    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// With the length first, so that no two lists of inputs look alike.
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(&bytes.len().to_be_bytes());
        self.0.update(bytes);
    }

    /// Adds a file's content.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn file(&mut self, path: &Path) -> Result<()> {
        let bytes = fs::read(path).with_context(|| path.display().to_string())?;
        self.bytes(&bytes);
        Ok(())
    }

    /// Adds every file in the folder and below, with its name.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn folder(&mut self, dir: &Path) -> Result<()> {
        let mut entries: Vec<_> = fs::read_dir(dir)
            .with_context(|| dir.display().to_string())?
            .collect::<std::io::Result<_>>()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            self.text(&entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                self.folder(&entry.path())?;
            } else {
                self.file(&entry.path())?;
            }
        }
        Ok(())
    }

    /// The hash, in hexadecimal digits.
    pub fn finish(self) -> String {
        self.0
            .finish()
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(texts: &[&str]) -> String {
        let mut inputs = Inputs::default();
        texts.iter().for_each(|text| inputs.text(text));
        inputs.finish()
    }

    #[test]
    fn no_two_lists_look_alike() {
        assert_eq!(hash(&["ab", "c"]), hash(&["ab", "c"]));
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
        assert_ne!(hash(&["ab", ""]), hash(&["ab"]));
    }
}
