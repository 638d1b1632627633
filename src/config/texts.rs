//! Which files make the configuration, their texts, and from a byte back to file, line, column.

use std::path::{Path, PathBuf};

use super::environment;
use super::error::{ConfigError, Place};
use super::files::{CONFIGURATION_LIMIT, read_bounded};

/// The variable that names the configuration when `-c` does not.
const VARIABLE: &str = "S3SWEEP_CONFIG";

/// Looked for in this order when neither `-c` nor the variable names a file.
const DEFAULTS: [&str; 2] = ["s3sweep.toml", "/etc/s3sweep/s3sweep.toml"];

/// The texts of all files, as if they stood behind each other: a byte offset over all of them
/// tells the file too.
#[derive(Debug, Default)]
pub(super) struct Texts {
    files: Vec<Text>,
}

/// One file.
#[derive(Debug)]
pub(super) struct Text {
    pub path: PathBuf,
    pub text: String,
    /// Offset of its first byte over all files.
    pub base: usize,
}

impl Texts {
    /// Reads the named files and the `*.toml` of the named folders; without names the first of
    /// `$S3SWEEP_CONFIG`, `./s3sweep.toml` and `/etc/s3sweep/s3sweep.toml` that is there.
    pub fn read(named: &[PathBuf]) -> Result<Self, ConfigError> {
        let mut texts = Texts::default();
        let paths = if named.is_empty() { vec![default_path()?] } else { named.to_vec() };
        for path in paths {
            for file in files_of(&path)? {
                let text = read_bounded(&file, CONFIGURATION_LIMIT)
                    .map_err(|source| ConfigError::Read { path: file.clone(), source })?;
                texts.add(file, text);
            }
        }
        Ok(texts)
    }

    /// Adds a text that was read.
    pub fn add(&mut self, path: PathBuf, text: String) {
        // one more than the length, so that the end of a file and the start of the next differ
        let base = self.files.last().map_or(0, |last| last.base + last.text.len() + 1);
        self.files.push(Text { path, text, base });
    }

    /// All files, in the order they were named.
    pub fn files(&self) -> &[Text] {
        &self.files
    }

    /// The file of an offset; past the end it is the last file.
    pub fn file_at(&self, offset: usize) -> Option<&Text> {
        self.files.iter().rev().find(|file| file.base <= offset)
    }

    /// The place of an offset.
    pub fn place(&self, offset: usize) -> Place {
        let Some(file) = self.file_at(offset) else {
            return Place { file: PathBuf::new(), line: 1, column: 1 };
        };
        let mut end = (offset - file.base).min(file.text.len());
        while !file.text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &file.text[..end];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place {
            file: file.path.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    /// A path of the configuration: a relative one is taken from the folder of the file that
    /// names it, so that it means the same from cron and from a shell.
    pub fn resolve(&self, offset: usize, path: &str) -> PathBuf {
        let folder = self.file_at(offset).and_then(|file| file.path.parent());
        folder.unwrap_or(Path::new("")).join(path)
    }
}

fn default_path() -> Result<PathBuf, ConfigError> {
    if let Some(path) = environment(VARIABLE).filter(|path| !path.is_empty()) {
        return Ok(PathBuf::from(path));
    }
    let looked_for: Vec<PathBuf> = DEFAULTS.iter().map(PathBuf::from).collect();
    match looked_for.iter().find(|path| path.exists()) {
        Some(path) => Ok(path.clone()),
        None => Err(ConfigError::NotFound { looked_for }),
    }
}

/// The file itself, or the `*.toml` of a folder by name; names that begin with a dot are left
/// out, as editors put their swap files there.
fn files_of(path: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let unreadable = |source| ConfigError::Read { path: path.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && file.extension().is_some_and(|extension| extension == "toml") && file.is_file() {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(ConfigError::EmptyFolder { path: path.to_owned() });
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_leads_back_to_file_line_and_column() {
        let mut texts = Texts::default();
        texts.add("one.toml".into(), "a = 1\nü = 2\n".into());
        texts.add("two.toml".into(), "b = 3".into());
        let base = texts.files()[1].base;
        for (case, offset, want) in [
            ("first byte", 0, ("one.toml", 1, 1)),
            ("after a wide character", 8, ("one.toml", 2, 2)),
            ("within a wide character", 7, ("one.toml", 2, 1)),
            ("second file", base + 4, ("two.toml", 1, 5)),
            ("past the end", base + 400, ("two.toml", 1, 6)),
        ] {
            let place = texts.place(offset);
            assert_eq!(
                (place.file.to_str(), place.line, place.column),
                (Some(want.0), want.1, want.2),
                "{case}"
            );
        }
    }

    #[test]
    fn a_folder_gives_its_toml_files_by_name() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.toml", "a.toml", ".hidden.toml", "notes.md"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let names: Vec<_> = files_of(folder.path()).unwrap();
        assert_eq!(names, [folder.path().join("a.toml"), folder.path().join("b.toml")]);
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(files_of(empty.path()), Err(ConfigError::EmptyFolder { .. })));
    }
}
